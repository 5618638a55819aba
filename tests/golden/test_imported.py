"""Golden databases as files of the published program, imported, and asked their queries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import golden_run
from tests.golden import databases
from tests.paths import golden_dir
from tests.published_release import (
    FINGERPRINT,
    PublishedRelease,
    import_arguments,
    published_bundle,
)
from tests.service_process import ServiceProcess
from typer.testing import CliRunner

from slidekin_server.cli._app import app


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path_factory.mktemp("service")).start() as service:
        yield service


@pytest.mark.parametrize("name", databases.NAMES)
def test_an_imported_database_answers_as_the_published_program(
    name: str, service: ServiceProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    golden = databases.load(name)
    release = PublishedRelease(tmp_path / "release")
    # In order of insertion; the slides' files are found in the order of their names.
    for number, own in golden.slides:
        facts = {"label": golden.labels[number] or "", "patient": golden.patients[number] or ""}
        release.add(golden.names[number], own, **facts)
    release.write_meta()
    options = ("--label-field", "label", "--patient-field", "patient")
    bundle = published_bundle(tmp_path / "bundle")
    monkeypatch.setattr(golden_run, "_FINGERPRINT", FINGERPRINT)
    arguments = import_arguments(release, bundle, service.url, f"golden-{name}", *options)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    with service.channel() as channel:
        asked = golden_run._Database(golden_dir(), name, channel)
        differences = [asked._ask(query) for query in asked._queries]
    assert differences == [""] * len(golden.queries)
    assert len(differences) > 0
