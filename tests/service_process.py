"""A real search service in a process of its own, on free ports, for every test that wants one.

It is tied to this process by a lifeline, so that nothing outlives the tests even when they are
killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.paths import PROJECT

_START_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 60
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024

SEARCH_SERVICE = "slidekin.v1.SearchService"


@dataclass
class ServiceProcess:
    """One search service; ``start`` and ``kill`` it as often as a test likes, on one folder."""

    folder: Path
    """Where its store, settings and log are."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Settings by section, over those that tests need."""
    codes_only: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables it gets beside those of whoever runs the tests."""
    credentials: grpc.ChannelCredentials | None = None
    """With which its tests' channels are encrypted, where it is."""
    within: Sequence[str] = ()
    """Command that it is started by, for example into another network."""
    process: subprocess.Popen[bytes] | None = None
    url: str = ""
    """Of its gRPC interface, while it runs."""
    metrics_url: str = ""

    @property
    def log(self) -> Path:
        """What it wrote to standard error, over all its starts."""
        return self.folder / "service.log"

    def start(self, *, ready: bool = True) -> Self:
        """Start it and wait until it listens; with ``ready``, until it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state_file = self.folder / "state.json"
        state_file.unlink(missing_ok=True)
        command = [*self.within, sys.executable, "-m", "slidekin_server", "serve", "--lifeline"]
        command += ["--config", str(self._settings_file()), "--state-file", str(state_file)]
        if self.codes_only:
            command.append("--codes-only")
        with self.log.open("ab") as log:
            environment = {**service_environment(), **self.environment}
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stderr=log, env=environment
            )
        state = json.loads(self._wait_for(state_file))
        self.url, self.metrics_url = state["grpc_url"], state["metrics_url"]
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self, *, serving: bool = True) -> None:
        """Wait until the search service says that it is ready, or that it is not."""
        wanted = health_pb2.HealthCheckResponse.SERVING
        request = health_pb2.HealthCheckRequest(service=SEARCH_SERVICE)
        with self.channel() as channel:
            for answer in health_pb2_grpc.HealthStub(channel).Watch(
                request, timeout=_START_TIMEOUT_S
            ):
                if (answer.status == wanted) is serving:
                    return

    def metric(self, name: str) -> float:
        """A metric's value, by its name with its labels; 0 where it was not counted yet."""
        with urllib.request.urlopen(self.metrics_url, timeout=30) as response:
            text = response.read().decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def stop(self) -> int:
        """Ask it to end and return its exit code."""
        self._running().send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end and return its exit code."""
        return self._ended(self._running())

    def kill(self) -> None:
        """End it without warning."""
        process = self._running()
        process.kill()
        self._ended(process)

    @contextlib.contextmanager
    def channel(self, credentials: grpc.ChannelCredentials | None = None) -> Iterator[grpc.Channel]:
        """A channel to it; ``credentials`` take the place of its own."""
        options = [
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
            # A channel of its own: the next service may take the port of one that is gone.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        credentials = credentials or self.credentials
        with (
            grpc.insecure_channel(self.url, options=options)
            if credentials is None
            else grpc.secure_channel(self.url, credentials, options=options)
        ) as channel:
            yield channel

    def __enter__(self) -> Self:
        return self.start() if self.process is None else self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            try:
                self._ended(self.process)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise

    def _running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "the service was not started"
        return self.process

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        code = process.wait(_STOP_TIMEOUT_S)
        if process.stdin is not None:
            process.stdin.close()
        self.process = None
        return code

    def _settings_file(self) -> Path:
        settings: dict[str, dict[str, Any] | Any] = {
            "listen": {"host": "127.0.0.1", "port": 0},
            "metrics": {"host": "127.0.0.1", "port": 0},
            "storage": {"path": str(self.folder / "store")},
            "shutdown_notice_s": 0.0,
            "shutdown_grace_s": 2.0,
        }
        for section, values in self.overrides.items():
            if isinstance(values, Mapping):
                settings[section] = {**settings.get(section, {}), **values}
            else:
                settings[section] = values
        file = self.folder / "settings.yaml"
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        return file

    def _wait_for(self, file: Path) -> str:
        process = self._running()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not file.exists():
            if process.poll() is not None:
                tail = self.log.read_text(encoding="utf-8")[-4000:]
                raise RuntimeError(f"the service ended with {process.returncode}:\n{tail}")
            if time.monotonic() > deadline:
                process.kill()
                raise TimeoutError(f"the service did not listen within {_START_TIMEOUT_S} s")
            time.sleep(0.02)
        return file.read_text(encoding="utf-8")


def eventually(condition: Callable[[], bool], *, within_s: float = 30.0) -> None:
    """Wait for what no call tells of: it is counted just after an answer is sent."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"it did not come about in {within_s} s"
        time.sleep(0.02)


def service_environment() -> dict[str, str]:
    """The environment without settings of whoever runs the tests."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("SLIDEKIN_SERVER")
    }
    paths = [str(PROJECT / "client"), str(PROJECT / "server")]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}
