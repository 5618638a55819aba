"""`up`, `status` and `down` with the real service; Triton's place is taken by the quick encoder."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.otlp_collector import running_collector
from tests.paths import PROJECT
from tests.unit.server.made_bundles import write_bundle
from tests.yaml_bomb import YAML_BOMB

from slidekin import Client
from slidekin.cli._home import Stack, read_stack

LAUNCHER = """
import json, os, signal, sys
from pathlib import Path
from tests.integration.client.encoder import quick_encoder

# Before any thread starts, so that the signal waits for us.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
options = dict(part.removeprefix("--").split("=", 1) for part in sys.argv[2:])
run_dir = Path(options["run-dir"])
run_dir.mkdir(exist_ok=True)
(run_dir / "options.json").write_text(json.dumps(options))
with quick_encoder() as url:
    draft = run_dir / "draft"
    draft.write_text(json.dumps({"grpc_url": url, "pid": os.getpid()}))
    draft.rename(run_dir / "state.json")
    signal.sigwait([signal.SIGTERM])
(run_dir / "state.json").unlink()
"""
BROKEN = """
import sys
print("Triton: the first line of a long story")
sys.exit("Triton: the models do not fit into memory")
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs `slidekin ARGUMENTS...` with a home and a launcher of its own."""
    triton = tmp_path / "deploy" / "triton"
    triton.mkdir(parents=True)
    (triton / "launcher.py").write_text(LAUNCHER)
    paths = os.pathsep.join(str(PROJECT / part) for part in ("client", "server", "."))
    for name, value in {
        "SLIDEKIN_HOME": str(home),
        "SLIDEKIN_DEPLOY_DIR": str(tmp_path / "deploy"),
        "SLIDEKIN_TRITON_PYTHON": sys.executable,
        "PYTHONPATH": paths,
        "COLUMNS": "200",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLIDEKIN_SERVER", raising=False)

    def invoke(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "slidekin.cli", *map(str, arguments)]
        # What was started stays behind when this ends: its end must not be waited for by pipes.
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr.partition("\n")[0]
        return done

    yield invoke
    invoke("down")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


def _stack(home: Path) -> Stack:
    stack = read_stack(home)
    assert stack is not None
    return stack


def _wait_for_end(process: int) -> None:
    """Waits for the end of a process that is not our child, by its file descriptor."""
    assert select.select([process], [], [], 30)[0]
    os.close(process)


def test_a_stack_comes_up_once_survives_the_loss_of_a_part_and_goes_down(
    run: Run, home: Path, bundle: Path
):
    first = run("up", "--bundle", bundle, "--port", "0")
    assert "slidekin is ready at 127.0.0.1:" in first.stdout
    stack = _stack(home)
    assert stack.alive()
    # Detached: the terminal's signals do not reach it.
    assert os.getpgid(stack.service.pid) != os.getpgid(0)
    with Client(stack.server) as client:
        client.create_collection("kept")
    assert "ready" in run("status").stdout

    assert "runs already" in run("up", "--bundle", bundle).stdout
    assert _stack(home) == stack

    watched = os.pidfd_open(stack.triton.pid)
    os.kill(stack.triton.pid, signal.SIGKILL)
    _wait_for_end(watched)
    assert "ended by itself" in run("status", code=1).stderr
    run("up", "--bundle", bundle, "--port", "0")
    assert _stack(home).triton != stack.triton
    assert not stack.service.alive()
    assert "kept" in run("collections", "list").stdout

    last = _stack(home)
    assert run("down").stdout.strip() == "stopped"
    assert not last.service.alive()
    assert not last.triton.alive()
    assert "nothing runs" in run("down").stdout
    assert "slidekin up" in run("status", "--server", last.server, code=1).stderr


def test_a_start_that_fails_shows_the_end_of_the_log_and_leaves_nothing_running(
    run: Run, home: Path, bundle: Path, tmp_path: Path
):
    (tmp_path / "deploy" / "triton" / "launcher.py").write_text(BROKEN)
    result = run("up", "--bundle", bundle, code=1)
    assert "Triton ended with exit code 1" in result.stderr
    assert "do not fit into memory" in result.stderr
    assert "launcher.log" in result.stderr
    assert read_stack(home) is None


def test_a_service_that_fails_takes_triton_down_with_it(run: Run, home: Path, bundle: Path):
    (bundle / "canary" / "patch.png").unlink()
    result = run("up", "--bundle", bundle, code=1)
    assert "the search service ended with exit code" in result.stderr
    assert "patch.png" in result.stderr
    assert read_stack(home) is None
    # Its last act was to take away its state.
    assert not (home / "triton" / "state.json").exists()


def test_random_weights_are_served_only_where_that_is_said(run: Run, home: Path, tmp_path: Path):
    random = write_bundle(tmp_path / "random", random_weights=True)
    result = run("up", "--bundle", random, code=1)
    assert "--allow-random-weights" in result.stderr
    assert read_stack(home) is None


def test_another_model_is_not_swapped_in_under_a_running_stack(
    run: Run, home: Path, bundle: Path, tmp_path: Path
):
    run("up", "--bundle", bundle, "--port", "0")
    other = write_bundle(tmp_path / "other", fingerprint="ef" * 32)
    result = run("up", "--bundle", other, code=1)
    assert "slidekin down" in result.stderr
    assert _stack(home).alive()


def test_all_models_of_a_store_are_served_and_another_store_is_not_swapped_in(
    run: Run, home: Path, bundle: Path, tmp_path: Path
):
    store = tmp_path / "store"
    store.mkdir()
    bundle.rename(store / "one")
    write_bundle(store / "two", fingerprint="ef" * 32)
    result = run("up", "--store", store, "--port", "0", code=1)
    assert "models activate" in result.stderr
    (store / "store.yaml").write_text("{schema: 1, active: two}")
    run("up", "--store", store, "--port", "0")
    told = run("status").stdout
    assert "one (abababababababab)" in told
    assert "two (efefefefefefefef), of new collections" in told
    assert "runs already" in run("up", "--store", store).stdout
    write_bundle(store / "three", fingerprint="0f" * 32)
    assert "slidekin down" in run("up", "--store", store, code=1).stderr
    assert "is no model store" in run("up", "--store", tmp_path / "none", code=1).stderr


def test_traces_go_from_the_service_to_triton_where_both_are_told_to(
    run: Run, home: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
):
    with running_collector() as collector:
        monkeypatch.setenv("SLIDEKIN_SERVER__TRACING__ENDPOINT", collector.grpc_endpoint)
        monkeypatch.setenv("SLIDEKIN_SERVER__TRACING__SAMPLING_RATIO", "1.0")
        run("up", "--bundle", bundle, "--port", "0", "--trace-url", collector.http_endpoint)
        with Client(_stack(home).server) as client:
            client.create_collection("traced")
        collector.until(lambda spans: any("CreateCollection" in span.name for span in spans))
        options = json.loads((home / "triton" / "options.json").read_text())
        assert options["trace-url"] == collector.http_endpoint
        run("down")


def test_a_folder_that_is_no_bundle_is_named(run: Run, tmp_path: Path):
    assert "no bundle.yaml" in run("up", "--bundle", tmp_path, code=1).stderr
    (tmp_path / "bundle.yaml").write_text(YAML_BOMB)
    refused = run("up", "--bundle", tmp_path, code=1).stderr
    assert "bundle.yaml cannot be read: aliases such as *a0" in " ".join(refused.split())


def test_down_does_not_touch_a_process_that_only_has_the_number(run: Run, home: Path):
    home.mkdir()
    own = {"pid": os.getpid(), "started": 1}
    (home / "stack.json").write_text(json.dumps({"schema": 1, "triton": own, "service": own}))
    assert "nothing runs" in run("down").stdout
