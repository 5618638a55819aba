"""A real service behind a quick encoder, and drawn slides."""

from __future__ import annotations

import csv
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.drawing import draw_collection
from tests.integration.client.encoder import quick_encoder
from tests.service_process import ServiceProcess
from tests.unit.server.made_bundles import write_bundle
from typer.testing import CliRunner, Result

from slidekin import Client
from slidekin.cli import app

_numbers = itertools.count()
Run = Callable[..., Result]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service that encodes."""
    folder = tmp_path_factory.mktemp("service")
    with quick_encoder() as url:
        overrides = {
            "model": {"bundle": str(write_bundle(folder / "bundle"))},
            "triton": {"url": url, "timeout_s": 10.0},
        }
        with ServiceProcess(folder / "run", overrides, codes_only=False) as running:
            yield running


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[Client]:
    with Client(service.url) as client:
        yield client


@pytest.fixture
def collection() -> str:
    """The id of a collection that nobody else uses; it is not created yet."""
    return f"own-{next(_numbers)}"


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight drawn slides of two patterns, two patients each, with labels.csv."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_collection(folder, patterns=("glands", "adipose"), patients=2, slides_per_patient=2)
    return folder


@pytest.fixture(scope="session")
def shared(service: ServiceProcess, drawn: Path) -> str:
    """The id of a collection with all drawn slides and their pictures, which no test changes."""
    with Client(service.url) as client:
        client.create_collection("shared", hamming_threshold_bits=600)
        for row in csv.DictReader((drawn / "labels.csv").read_text().splitlines()):
            client.add_slide(
                drawn / f"{row['slide']}.tiff",
                collection="shared",
                patient_id=row["patient"],
                label=row["label"],
                attributes={"block": row["block"]},
            )
    return "shared"


@pytest.fixture
def filled(client: Client, shared: str, collection: str) -> str:
    """The id of a collection with the same slides by their codes, for a test to change."""
    client.create_collection(collection, hamming_threshold_bits=600)
    for entry in client.export_slides(shared):
        name = f"collections/{collection}/slides/{entry.slide.slide_id}"
        client.add_slide_codes(
            dataclasses.replace(entry.slide, name=name),
            entry.codes,
            model_fingerprint=entry.model_fingerprint,
        )
    return collection


@pytest.fixture
def run(service: ServiceProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs `slidekin ARGUMENTS...` against the service; checks the exit code."""
    monkeypatch.setenv("SLIDEKIN_SERVER", service.url)
    monkeypatch.setenv("SLIDEKIN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: str | Path, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return invoke
