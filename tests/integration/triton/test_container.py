"""What a Triton container runs: it writes the repository, then the process is the server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ports import free_ports
from tests.triton_stack import LAUNCHER, triton_python
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

_PATIENCE_S = 120


def launcher(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(triton_python()), str(LAUNCHER), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@contextlib.contextmanager
def container(
    bundle: Path, work: Path, *options: str, **variables: str
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, int]]]:
    """The command of the image; the process ends with the context."""
    ports = dict(zip(("grpc", "http", "metrics"), free_ports(3), strict=True))
    command = [str(triton_python()), str(LAUNCHER), "serve", f"--bundle={bundle}", f"--work={work}"]
    command += [f"--{name}-port={port}" for name, port in ports.items()]
    work.mkdir()
    with (work.parent / f"{work.name}.log").open("wb") as log:
        # `timeout` ends it even where these tests are killed.
        process = subprocess.Popen(
            ["timeout", "--kill-after=60", "200", *command, "--runtime=torch", *options],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
        )
        try:
            yield process, ports
        finally:
            process.terminate()
            process.wait(60)


def wait_ready(process: subprocess.Popen[bytes], ports: dict[str, int]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while (answer := launcher("health", f"--http-port={ports['http']}")).returncode:
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, answer.stderr
        assert answer.stderr.startswith("error: Triton is not ready at http://127.0.0.1:")


@pytest.fixture(scope="module")
def folder_of_a_server(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The wheel's server, laid out as in NVIDIA's image, and the libraries it wants."""
    folder = tmp_path_factory.mktemp("opt") / "tritonserver"
    code = """
import sys; from pathlib import Path; from embedded import *
wheel, folder = find_wheel(), Path(sys.argv[1])
files = lay_out_backend(wheel, folder / "backends")
(folder / "bin").mkdir()
(folder / "bin/tritonserver").symlink_to(files.tritonserver)
(folder / "caches").symlink_to(files.caches)
print(environment(wheel)["LD_LIBRARY_PATH"])
"""
    made = subprocess.run(
        [triton_python(), "-c", code, folder],
        env={**os.environ, "PYTHONPATH": str(LAUNCHER.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    return folder, made.stdout.strip()


def test_the_process_becomes_the_server_and_ends_in_order(
    demo_bundle: Path, tmp_path: Path, folder_of_a_server: tuple[Path, str]
) -> None:
    server, libraries = folder_of_a_server
    options = [f"--server={server}", "--response-cache-mib=16", "--max-connection-age-s=300"]
    with container(demo_bundle, tmp_path / "work", *options, LD_LIBRARY_PATH=libraries) as (
        process,
        ports,
    ):
        wait_ready(process, ports)
        with InferenceServerClient(f"127.0.0.1:{ports['grpc']}") as client:
            assert client.is_server_ready()
            for closed in (client.get_model_repository_index, client.get_trace_settings):
                with pytest.raises(InferenceServerException, match="restricted"):
                    closed()
        metrics = f"http://127.0.0.1:{ports['metrics']}/metrics"
        with urllib.request.urlopen(metrics, timeout=10) as answer:
            assert b"nv_inference_count" in answer.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_the_server_in_the_wheel_is_taken_where_none_is_named(
    demo_bundle: Path, tmp_path: Path
) -> None:
    with container(demo_bundle, tmp_path / "work") as (process, ports):
        wait_ready(process, ports)


def test_a_folder_without_a_server_is_named(demo_bundle: Path, tmp_path: Path) -> None:
    done = launcher(
        "serve", f"--bundle={demo_bundle}", f"--work={tmp_path}", f"--server={tmp_path}"
    )
    assert done.returncode == 1
    assert f"{tmp_path}: there is no bin/tritonserver" in done.stderr
