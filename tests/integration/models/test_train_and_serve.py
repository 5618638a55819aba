"""From slides to a served model by the commands a user gives, with a kill on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import yaml
from PIL import Image
from tests.drawing.draw import draw_slide
from tests.triton_stack import running_triton, why_no_triton

from slidekin_models.bundles.bundle import read_bundle
from slidekin_models.networks.seeded import golden_image
from slidekin_models.runtimes.placement import Placement
from slidekin_models.runtimes.serving import load_vqvae
from slidekin_models.weights.manifest import VqVaeManifest, read_yaml

STEPS = 16
KILL_AFTER = 4
_DEADLINE_S = 240


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for pattern in ("glands", "stroma"):
        draw_slide(folder / f"{pattern}.tiff", pattern, width_px=1024, height_px=1024)
    return folder


@pytest.fixture(scope="module")
def unbroken(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "model"
    done = finish(start(slides, out, "--checkpoint-every=1000"))
    assert f"step {STEPS}/{STEPS}" in done.stderr
    assert "perplexity" in done.stderr
    return out


@pytest.fixture(scope="module")
def broken(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is killed in its midst, and the same command again."""
    out = tmp_path_factory.mktemp("broken") / "model"
    with start(slides, out, "--checkpoint-every=4") as running:
        reached = wait_for_step(out, KILL_AFTER, running)
        running.send_signal(signal.SIGKILL)
        running.communicate(timeout=_DEADLINE_S)
        assert running.returncode == -signal.SIGKILL
    assert reached < STEPS
    assert not (out / "manifest.yaml").exists()
    done = finish(start(slides, out, "--checkpoint-every=4"))
    assert "going on after step" in done.stderr
    return out


def start(slides: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-m", "slidekin_server", "models", "train"),
        *(f"--slides={slides}", f"--out={out}", f"--steps={STEPS}", "--side=64", "--batch=4"),
        *("--threads=1", "--cpu", "--store=compact", "--licence=Apache-2.0", *options),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(running: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    with running:
        out, errors = running.communicate(timeout=_DEADLINE_S)
    assert running.returncode == 0, errors
    return subprocess.CompletedProcess(running.args, running.returncode, out, errors)


def wait_for_step(out: Path, step: int, running: subprocess.Popen[str]) -> int:
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        done = [int(path.name[11:]) for path in out.glob("run/checkpoint-*[0-9]")]
        if done and max(done) >= step:
            return max(done)
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)
    raise TimeoutError(f"step {step} was not reached within {_DEADLINE_S} s")


def test_a_run_that_was_killed_comes_to_the_same_weights(unbroken: Path, broken: Path) -> None:
    weights = [(out / "weights.safetensors").read_bytes() for out in (unbroken, broken)]
    assert weights[0] == weights[1]
    assert read_manifest(unbroken).semantic_order == read_manifest(broken).semantic_order


def test_the_record_of_a_killed_run_has_each_step_once(unbroken: Path, broken: Path) -> None:
    records = [(out / "run" / "metrics.jsonl").read_text() for out in (unbroken, broken)]
    assert [line_steps(text) for text in records] == [[10, STEPS]] * 2


def line_steps(record: str) -> list[int]:
    return [yaml.safe_load(line)["step"] for line in record.splitlines()]


def read_manifest(model: Path) -> VqVaeManifest:
    return read_yaml(model / "manifest.yaml", VqVaeManifest)


def test_a_model_directory_says_what_it_is(unbroken: Path) -> None:
    manifest = read_manifest(unbroken)
    assert (manifest.name, manifest.licence) == ("model", "Apache-2.0")
    assert not manifest.random_weights
    assert "glands.tiff, stroma.tiff" in manifest.source
    card = (unbroken / "CARD.md").read_text()
    assert "perplexity" in card
    assert "Not for" in card
    assert (unbroken / "weights.safetensors").stat().st_size < 10e6
    for name in ("curves.png", "reconstructions.png"):
        assert f"({name})" in card
        assert (unbroken / name).stat().st_size < 300_000
        with Image.open(unbroken / name) as image:
            assert min(image.size) > 100


def test_a_finished_run_is_not_trained_again(slides: Path, unbroken: Path) -> None:
    before = (unbroken / "weights.safetensors").read_bytes()
    done = finish(start(slides, unbroken))
    assert f"going on after step {STEPS}" in done.stderr
    assert f"step {STEPS}/{STEPS}" not in done.stderr
    assert (unbroken / "weights.safetensors").read_bytes() == before


def test_another_run_does_not_write_over_it(slides: Path, unbroken: Path) -> None:
    with start(slides, unbroken, "--seed=1") as running:
        _, errors = running.communicate(timeout=_DEADLINE_S)
    assert running.returncode == 2
    assert "seed was 0, now 1" in errors


@pytest.fixture(scope="module")
def served(
    unbroken: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, triton_grpc.InferenceServerClient, str]]:
    reason = why_no_triton()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("served")
    choice = {
        "vqvae": {"manifest": str(unbroken / "manifest.yaml")},
        "texture": {"package": "efficientnet-lite0"},
    }
    (folder / "models.yaml").write_text(yaml.safe_dump(choice))
    bundle = folder / "bundle"
    command = [sys.executable, "-m", "slidekin_server", "models", "build"]
    command += [f"--config={folder / 'models.yaml'}", f"--out={bundle}"]
    subprocess.run(command, check=True, capture_output=True, timeout=_DEADLINE_S)
    with (
        running_triton(bundle, folder / "run") as state,
        triton_grpc.InferenceServerClient(state.grpc_url) as client,
    ):
        yield bundle, client, state.model("vqvae")


def test_what_was_trained_is_what_triton_serves(
    served: tuple[Path, triton_grpc.InferenceServerClient, str], unbroken: Path
) -> None:
    bundle, client, model = served
    assert not read_bundle(bundle).random_weights
    pixels = golden_image(1024)[None]
    tensor = triton_grpc.InferInput("PIXELS", list(pixels.shape), "UINT8")
    tensor.set_data_from_numpy(pixels)
    codes = client.infer(model, [tensor]).as_numpy("CODES")
    expected = load_vqvae(unbroken, Placement(threads=1)).encode(pixels)
    assert (codes != expected).sum() <= read_bundle(bundle).canary.max_differing_codes
    assert len(np.unique(codes)) > 1
