"""The launcher starts Triton, says where it is, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml
from tests.paths import PROJECT
from tests.triton_stack import (
    LAUNCHER,
    TritonState,
    launcher_command,
    start_launcher,
    triton_python,
    wait_ready,
)
from tests.yaml_bomb import YAML_BOMB

TEMPLATES = PROJECT / "deploy" / "triton" / "model_repository"
QUEUE_POLICY = re.compile(
    r"queue_policy|max_queue_size|default_timeout_microseconds|allow_timeout_override|priority"
)


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)


def shared_memory_of(run_dir: Path) -> list[Path]:
    digest = hashlib.sha256(str(run_dir.resolve()).encode()).hexdigest()[:16]
    return list(Path("/dev/shm").glob(f"slidekin-{digest}-*"))


def family_of(state: TritonState) -> list[psutil.Process]:
    server = psutil.Process(state.triton_pid)
    return [server, *server.children(recursive=True)]


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


@pytest.mark.parametrize("end", ["SIGTERM", "SIGINT", "lifeline"])
def test_an_orderly_end_stops_all_and_leaves_nothing(
    demo_bundle: Path, tmp_path: Path, end: str
) -> None:
    with start_launcher(demo_bundle, tmp_path) as launcher:
        state = wait_ready(launcher, tmp_path)
        family = family_of(state)
        assert len(family) >= 4
        assert shared_memory_of(tmp_path)
        if end == "lifeline":
            launcher.communicate(timeout=60)
        else:
            launcher.send_signal(getattr(signal, end))
            launcher.wait(60)
        assert launcher.returncode == 0
    assert all_gone(family)
    assert not shared_memory_of(tmp_path)
    assert not (tmp_path / "state.json").exists()


def test_a_killed_launcher_leaves_no_triton(demo_bundle: Path, tmp_path: Path) -> None:
    with start_launcher(demo_bundle, tmp_path) as launcher:
        state = wait_ready(launcher, tmp_path)
        family = family_of(state)
        launcher.kill()
    wait_for(lambda: all_gone(family), "the server's processes end")
    wait_for(lambda: not shared_memory_of(tmp_path), "its shared memory is cleared")


def test_a_killed_triton_ends_the_launcher_with_a_message(
    demo_bundle: Path, tmp_path: Path
) -> None:
    with start_launcher(demo_bundle, tmp_path) as launcher:
        state = wait_ready(launcher, tmp_path)
        family = family_of(state)
        os.kill(state.triton_pid, signal.SIGKILL)
        launcher.wait(60)
        _, errors = launcher.communicate()
    assert launcher.returncode == 1
    assert errors.startswith("error: Triton ended by itself")
    assert all_gone(family)
    assert not shared_memory_of(tmp_path)


def test_one_launcher_runs_in_a_run_directory(demo_bundle: Path, triton: TritonState) -> None:
    result = launch_to_the_end(demo_bundle, triton.run_dir)
    assert result.returncode == 1
    assert "another launcher runs there" in result.stderr
    assert (triton.run_dir / "state.json").exists()


def test_a_taken_port_is_named(demo_bundle: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = launch_to_the_end(demo_bundle, tmp_path, f"--grpc-port={port}")
    assert result.returncode == 1
    assert f"--grpc-port: port {port} is taken" in result.stderr


def test_numpy_2_is_refused(demo_bundle: Path, tmp_path: Path) -> None:
    import numpy as np  # noqa: PLC0415

    assert int(np.__version__.split(".")[0]) >= 2, (
        "the tests' own environment serves as the example"
    )
    command = launcher_command(demo_bundle, tmp_path)
    result = subprocess.run(
        [sys.executable, *command[1:]], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 2
    assert f"numpy {np.__version__} is installed" in result.stderr
    assert "deploy/triton/requirements.txt" in result.stderr


def test_the_models_themselves_refuse_numpy_2() -> None:
    from slidekin_models.errors import PlacementError  # noqa: PLC0415
    from slidekin_models.host import require_numpy_1  # noqa: PLC0415

    with pytest.raises(PlacementError, match="garbage from numpy 2 on"):
        require_numpy_1()
    for model in ("image_decoder", "vqvae", "texture"):
        code = (TEMPLATES / model / "1" / "model.py").read_text(encoding="utf-8")
        assert re.search(r"def initialize.*\n.*\n        require_numpy_1\(\)", code), model


def test_too_little_shared_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(LAUNCHER.parent)
    import embedded  # noqa: PLC0415

    with pytest.raises(embedded.EnvironmentRefusedError, match="--shm-size"):
        embedded.require_shared_memory(tmp_path, needed_mib=1 << 40)
    embedded.require_shared_memory(tmp_path, needed_mib=1)


def test_a_missing_bundle_is_named_with_the_cure(tmp_path: Path) -> None:
    result = launch_to_the_end(tmp_path / "nowhere", tmp_path / "run")
    assert result.returncode == 1
    assert "nowhere/bundle.yaml: cannot be read" in result.stderr
    assert "slidekin_models build" in result.stderr
    (tmp_path / "bundle.yaml").write_text(YAML_BOMB)
    result = launch_to_the_end(tmp_path, tmp_path / "run")
    assert result.returncode == 1
    assert "bundle.yaml: not a bundle's description" in result.stderr
    assert "aliases such as *a0 are not read" in result.stderr


def test_a_model_that_does_not_load_is_reported_with_its_reason(
    demo_bundle: Path, tmp_path: Path
) -> None:
    result = launch_to_the_end(demo_bundle, tmp_path, "--precision=int4")
    assert result.returncode == 1
    assert "precision: 'int4' is not served" in result.stderr
    assert not shared_memory_of(tmp_path)


def test_a_container_mounts_the_same_repository(demo_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "repository"
    render(demo_bundle, out, "--device=gpu", "--bundle-path-inside=/models/bundle")
    (folder,) = out.glob("vqvae-*")
    vqvae = (folder / "config.pbtxt").read_text(encoding="utf-8")
    assert f'name: "{folder.name}"' in vqvae
    assert "kind: KIND_GPU" in vqvae
    assert '"/models/bundle"' in vqvae
    decoder = (out / "image_decoder" / "config.pbtxt").read_text(encoding="utf-8")
    assert "kind: KIND_CPU" in decoder
    render(demo_bundle, out, "--device=cpu")
    assert "kind: KIND_CPU" in (folder / "config.pbtxt").read_text(encoding="utf-8")
    (out / "mine").mkdir()
    result = render_to_the_end(demo_bundle, out)
    assert "holds mine" in result.stderr


def test_all_bundles_of_a_store_are_in_one_repository(demo_bundle: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    for number, name in enumerate(("one", "two")):
        shutil.copytree(demo_bundle, store / name)
        description = yaml.safe_load((store / name / "bundle.yaml").read_text())
        description |= {"fingerprint": f"{number}" * 64, "texture_bits": 1024 + 256 * number}
        (store / name / "bundle.yaml").write_text(yaml.safe_dump(description))
    (store / ".draft").mkdir()
    out = tmp_path / "repository"
    result = launcher("render", f"--store={store}", f"--out={out}")
    assert result.returncode == 0, result.stderr
    per_bundle = ("patch_encoder", "patch_encoder_raw", "texture", "vqvae")
    expected = [f"{model}-{digit * 12}" for model in per_bundle for digit in "01"]
    assert sorted(path.name for path in out.iterdir()) == sorted(["image_decoder", *expected])
    for digit, name, bits in (("0", "one", 1024), ("1", "two", 1280)):
        texture = (out / f"texture-{digit * 12}" / "config.pbtxt").read_text()
        assert f'"/models/{name}"' in texture
        assert f"dims: [ {bits} ]" in texture
        ensemble = (out / f"patch_encoder-{digit * 12}" / "config.pbtxt").read_text()
        assert f'model_name: "vqvae-{digit * 12}"' in ensemble
        assert f'model_name: "texture-{digit * 12}"' in ensemble
    shutil.copytree(store / "one", store / "again")
    result = launcher("render", f"--store={store}", f"--out={out}")
    assert result.returncode == 1
    assert "are the same model (000000000000)" in result.stderr


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_the_texture_follows_the_vqvae_on_a_cpu_alone(
    demo_bundle: Path, tmp_path: Path, device: str
) -> None:
    render(demo_bundle, tmp_path / "repository", f"--device={device}")
    for model in ("texture", "patch_encoder", "patch_encoder_raw"):
        (path,) = tmp_path.glob(f"repository/{model}-*/config.pbtxt")
        text = path.read_text(encoding="utf-8")
        takes_codes = (
            'input_map { key: "CODES"' in text or '{ name: "CODES"' in text.split("output")[0]
        )
        assert takes_codes == (device == "cpu"), path


def test_an_empty_store_and_no_bundle_at_all_are_refused(tmp_path: Path) -> None:
    result = launcher("render", f"--store={tmp_path}", f"--out={tmp_path / 'out'}")
    assert "holds no bundle: build one with" in result.stderr
    result = launcher("render", f"--out={tmp_path / 'out'}")
    assert "nothing to serve: name a bundle" in result.stderr


def test_no_configuration_has_a_queue_policy(demo_bundle: Path, tmp_path: Path) -> None:
    render(demo_bundle, tmp_path / "repository")
    configurations = [*TEMPLATES.rglob("config.pbtxt"), *tmp_path.rglob("config.pbtxt")]
    assert len(configurations) == 10
    for path in configurations:
        lines = path.read_text(encoding="utf-8").splitlines()
        text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
        assert not QUEUE_POLICY.search(text), path
        assert "$" not in text or path.is_relative_to(TEMPLATES), path


def test_every_ensemble_takes_no_larger_batch_than_its_members() -> None:
    sizes = {
        path.parent.name: int(
            re.search(r"max_batch_size: (\d+)", path.read_text(encoding="utf-8"))[1]
        )
        for path in TEMPLATES.rglob("config.pbtxt")
    }
    for ensemble in ("patch_encoder", "patch_encoder_raw"):
        assert sizes[ensemble] <= min(sizes[m] for m in ("image_decoder", "vqvae", "texture"))


def launch_to_the_end(
    bundle: Path, run_dir: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """Run a launcher that is expected to fail at once."""
    return subprocess.run(
        [part for part in launcher_command(bundle, run_dir, *options) if part != "--lifeline"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def launcher(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(triton_python()), str(LAUNCHER), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def render_to_the_end(bundle: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return launcher("render", f"--bundle={bundle}", f"--out={out}", *options)


def render(bundle: Path, out: Path, *options: str) -> None:
    result = render_to_the_end(bundle, out, *options)
    assert result.returncode == 0, result.stderr
