"""Two models side by side in one real Triton, each collection with its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.drawing import draw_slide
from tests.service_process import ServiceProcess
from tests.triton_stack import (
    TritonState,
    build_demo_bundle,
    build_random_bundle,
    running_triton,
    why_no_triton,
)

from slidekin import Client, Codes, FailedPreconditionError, ServedModel
from slidekin_models.bundles.registry import activate
from slidekin_server.bundle import load_bundle

# A patch takes seconds on a CPU that others use, too.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store of two pairs whose textures differ in width."""
    if reason := why_no_triton():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("models")
    build_demo_bundle(folder / "wide")
    build_random_bundle(folder / "narrow", texture="densenet121", seed=1)
    for draft in folder.glob("*.yaml"):
        draft.unlink()
    activate(folder, "wide")
    return folder


@pytest.fixture(scope="module")
def triton(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonState]:
    with running_triton(store, tmp_path_factory.mktemp("triton")) as state:
        yield state


@pytest.fixture(scope="module")
def client(
    store: Path, triton: TritonState, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    overrides = {
        "model": {"store": str(store), "allow_random_weights": True},
        "triton": {"url": triton.grpc_url, "retry_interval_s": 0.2},
    }
    folder = tmp_path_factory.mktemp("service")
    with (
        ServiceProcess(folder, overrides, codes_only=False) as service,
        Client(service.url) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn slide of one patch."""
    path = tmp_path_factory.mktemp("slide") / "s.tiff"
    draw_slide(path, "glands", width_px=1100, height_px=1100)
    return path


def served(client: Client) -> dict[str, ServedModel]:
    return {model.name: model for model in client.status().models}


def test_both_are_served_each_with_its_own_canary(
    client: Client, store: Path, triton: TritonState
) -> None:
    models = served(client)
    assert {name: model.encoder_state for name, model in models.items()} == {
        "wide": "ready",
        "narrow": "ready",
    }
    assert [models[name].model.texture_bits for name in ("wide", "narrow")] == [1280, 1024]
    assert models["wide"].active
    assert set(triton.fingerprints) == {model.model.fingerprint for model in models.values()}
    assert {folder.name for folder in triton.bundles} == {"wide", "narrow"}


def test_images_go_to_the_model_of_their_collection_and_a_reindex_to_the_other(
    client: Client, slide: Path
) -> None:
    models = served(client)
    for name, model in models.items():
        client.create_collection(name, model_fingerprint=model.model.fingerprint)
        client.add_slide(slide, collection=name)
    exported = {name: next(client.export_slides(name)) for name in models}
    assert exported["wide"].codes.textures.shape == (1, 160)
    assert exported["narrow"].codes.textures.shape == (1, 128)
    assert exported["wide"].codes.keys != exported["narrow"].codes.keys
    for name in models:
        found = client.search_slide(slide, collection=name, k=1)
        assert found.slides[0].hamming_distance_bits == 0
        assert found.model_fingerprint == models[name].model.fingerprint
        assert found.random_weights

    wanted = models["narrow"].model.fingerprint
    client.start_reindex("wide", model_fingerprint=wanted)
    client.reindex_slide(slide, collection="wide")
    assert client.search_slide(slide, collection="wide", k=1).slides
    client.finish_reindex("wide", model_fingerprint=wanted)
    now, fresh = next(client.export_slides("wide")), exported["narrow"]
    assert now.model_fingerprint == wanted
    for name in ("keys", "textures", "xy"):
        np.testing.assert_array_equal(getattr(now.codes, name), getattr(fresh.codes, name))
    assert now.slide.content_digest == fresh.slide.content_digest
    assert client.search_slide(slide, collection="wide", k=1).slides[0].hamming_distance_bits == 0


def test_a_collection_whose_model_is_not_served_takes_codes_and_no_images(
    client: Client, slide: Path
) -> None:
    client.create_collection(
        "foreign", model_fingerprint="e" * 64, texture_bits=128, hamming_threshold_bits=9
    )
    codes = Codes(np.array([5], np.int64), np.zeros((1, 16), np.uint8), np.zeros((1, 2), np.int32))
    answer = client.search_codes(codes, collection="foreign", model_fingerprint="e" * 64)
    assert not answer.random_weights
    with pytest.raises(FailedPreconditionError, match="does not serve") as raised:
        client.search_slide(slide, collection="foreign")
    assert raised.value.reason == "MODEL_NOT_SERVED"


def test_the_command_tells_which_bundles_triton_serves(
    store: Path, triton: TritonState, tmp_path: Path
) -> None:
    from typer.testing import CliRunner  # noqa: PLC0415

    from slidekin_models.cli import app  # noqa: PLC0415 - brings torch

    told = CliRunner().invoke(app, ["list", str(store), "--triton", triton.http_url])
    assert told.exit_code == 0, told.output
    rows = [line.split() for line in told.stdout.splitlines()]
    assert rows[0][-1] == "served"
    assert [row[-1] for row in rows[1:]] == ["yes", "yes"]
    assert load_bundle(store / "wide", allow_random_weights=True).fingerprint[:12] in told.stdout
