"""One Triton server with its run directory: prepares, starts, watches and stops it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import typer
from bundles import BundleFacts
from embedded import environment, find_wheel, lay_out_backend, require_shared_memory
from guard import SHM, Guard, kill_group, remove_shared_memory, shared_memory_prefix
from launch_errors import LaunchError
from repository import RepositoryOptions, Served, render_repository
from server_command import server_command
from stopping import told_to_stop

from ports import HOST, Ports

_HARMLESS = re.compile("CudaDriverHelper|NVML")
"""Messages that appear on every machine without a GPU."""
_STOP_TIMEOUT_S = 20


class Instance:
    """One Triton server with its run directory."""

    def __init__(self, bundles: Sequence[BundleFacts], run_dir: Path) -> None:
        self._bundles = bundles
        self._run_dir = run_dir
        self._repository = run_dir / "model_repository"
        self._backends = run_dir / "backends"
        self._state = run_dir / "state.json"
        self._log = run_dir / "triton.log"
        # Regions that a killed start left are cleared; the run directory's lock makes that safe.
        self._shm_prefix = shared_memory_prefix(run_dir)
        self._triton: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        self._ports = Ports(0, 0, 0)
        self._served: Served = {}

    def prepare(self, options: RepositoryOptions) -> None:
        """Clear what a killed start left, and write the files that the server reads.

        Raises:
            LaunchError: The environment lacks a part, or an option is unknown.
        """
        self._wheel = find_wheel()
        self._state.unlink(missing_ok=True)
        remove_shared_memory(self._shm_prefix)
        require_shared_memory(SHM)
        self._files = lay_out_backend(self._wheel, self._backends)
        self._served = render_repository(self._bundles, self._repository, options)

    def start(
        self, ports: Ports, response_cache_mib: int, *, gpu: bool, trace_url: str = ""
    ) -> None:
        """Start the server in its own process group, and its guard."""
        self._ports = ports
        if self._log.exists():
            self._log.replace(self._log.with_name("triton.previous.log"))
        arguments = server_command(
            self._files,
            repository=self._repository,
            host=HOST,
            ports=ports,
            shm_prefix=self._shm_prefix,
            response_cache_mib=response_cache_mib,
            gpu=gpu,
            trace_url=trace_url,
        )
        with self._log.open("wb") as log:
            self._triton = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(self._wheel),
                cwd=self._run_dir,
                start_new_session=True,
            )
        self._guard = Guard(self._triton.pid, self._shm_prefix)

    def wait_ready(self, woken: socket.socket, timeout_s: float, *, lifeline: bool) -> bool:
        """Wait until every model is ready; return False if told to stop in the meantime.

        Raises:
            LaunchError: The server ended, or the time-out passed.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self._require_alive("did not start")
            if self._is_ready():
                return True
            if told_to_stop(woken, lifeline=lifeline):
                return False
        msg = f"Triton's models were not ready within {timeout_s:g} s: {self._last_words()}"
        raise LaunchError(msg)

    def write_state(self) -> None:
        """Write the server's addresses to the state file, in one step."""
        state = {
            "schema": 1,
            "pid": os.getpid(),
            "triton_pid": self._triton.pid if self._triton else 0,
            "host": HOST,
            "grpc_url": f"{HOST}:{self._ports.grpc}",
            "http_url": f"http://{HOST}:{self._ports.http}",
            "metrics_url": f"http://{HOST}:{self._ports.metrics}/metrics",
            "bundles": [
                {
                    "path": str(bundle.directory),
                    "fingerprint": bundle.fingerprint,
                    "runtimes": {
                        network: f"{chosen.runtime} {chosen.precision}"
                        for network, chosen in self._served[bundle.fingerprint].items()
                    },
                }
                for bundle in self._bundles
            ],
            "log": str(self._log),
        }
        draft = self._state.with_suffix(".tmp")
        draft.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        draft.replace(self._state)
        for bundle in self._bundles:
            said = ", ".join(
                f"{network} by {chosen.runtime} in {chosen.precision}"
                for network, chosen in self._served[bundle.fingerprint].items()
            )
            typer.echo(f"{bundle.directory.name}: {said}")
        typer.echo(f"Triton ready: gRPC {state['grpc_url']}, log {self._log}")

    def wait_stop(self, woken: socket.socket, *, lifeline: bool) -> None:
        """Return when told to stop.

        Raises:
            LaunchError: The server ended by itself.
        """
        while not told_to_stop(woken, lifeline=lifeline):
            self._require_alive("ended by itself")

    def stop(self) -> None:
        """Stop the server and its models' processes; none of them remains."""
        self._state.unlink(missing_ok=True)
        if self._triton is None:
            return
        self._triton.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._triton.wait(_STOP_TIMEOUT_S)
        kill_group(self._triton.pid)
        self._triton.wait()
        remove_shared_memory(self._shm_prefix)
        if self._guard:
            self._guard.dismiss()

    def _is_ready(self) -> bool:
        url = f"http://{HOST}:{self._ports.http}/v2/health/ready"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _require_alive(self, fault: str) -> None:
        if self._triton is not None and self._triton.poll() is not None:
            msg = f"Triton {fault} (status {self._triton.returncode}): {self._last_words()}"
            raise LaunchError(msg)

    def _last_words(self) -> str:
        """Return the first errors in the log, which name the cause, and the path of the log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [
            line
            for line in lines
            if (line.startswith("E") or "Error:" in line) and not _HARMLESS.search(line)
        ]
        said = " | ".join((errors or lines[-3:])[:3])
        return f"{said} (log: {self._log})"
