"""The real stack of a run: service, Triton, disk, certificates, clock: each can break."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.chaos.certificates import CLIENT_NAME, Certificates
from tests.chaos.clock import Clock
from tests.chaos.namespaces import DIES_WITH_US, SERVICE_ADDRESS, Cable
from tests.service_process import ServiceProcess
from tests.small_disk import small_disk
from tests.triton_stack import TritonState, start_launcher, wait_ready

from slidekin import Client
from slidekin._transport import credentials

_PORT = 50051
_TRITON_PORT = 8001
_DISK_MIB = 64
_DRAIN_S = 10.0
_STOP_TIMEOUT_S = 60
RELOAD_S = 0.5
"""Time within which the service looks at its certificates again."""


class Triton:
    """Triton on the service's side of the cable, started and killed as often as one likes."""

    def __init__(self, bundle: Path, folder: Path, cable: Cable) -> None:
        self._bundle = bundle
        self._folder = folder
        self._cable = cable
        self._launcher: subprocess.Popen[str] | None = None
        self._state: TritonState | None = None
        self._starts = 0

    def start(self) -> None:
        """Start it, and wait until its models are loaded."""
        self._starts += 1
        run_dir = self._folder / f"triton-{self._starts}"
        self._launcher = start_launcher(
            self._bundle,
            run_dir,
            f"--grpc-port={_TRITON_PORT}",
            # As users have it; tests elsewhere need fp32 to the bit.
            "--runtime=auto",
            "--precision=auto",
            within=self._cable.service_side,
        )
        self._state = wait_ready(self._launcher, run_dir)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server itself."""
        assert self._state is not None
        os.kill(self._state.triton_pid, number)

    def ended(self) -> bool:
        """Whether its launcher has ended."""
        return self._launcher is None or self._launcher.poll() is not None

    def tidy_up(self) -> None:
        """Wait until all of it is gone."""
        if self._launcher is not None:
            with self._launcher:
                self._launcher.terminate()
                self._launcher.communicate(timeout=_STOP_TIMEOUT_S)
            self._launcher = self._state = None


class Stack:
    """What a run breaks. Made by `running_stack`.

    Attributes:
        cable: Between clients and service.
        certificates: Of both.
        clock: The service's; None: the machine's.
        disk: Where the store is.
        triton: None: the service takes codes only.
        on_death: Called when the service is gone.
    """

    def __init__(
        self,
        folder: Path,
        cable: Cable,
        *,
        bundle: Path | None,
        with_clock: bool,
        on_death: Callable[[], None],
    ) -> None:
        self.cable = cable
        self.clock = Clock(folder / "clock") if with_clock else None
        self.certificates = Certificates(folder / "certificates", SERVICE_ADDRESS)
        self.disk = folder / "disk"
        self.triton = None if bundle is None else Triton(bundle, folder, cable)
        self._on_death = on_death
        self.target = f"{SERVICE_ADDRESS}:{_PORT}"
        self.service = ServiceProcess(
            folder / "service",
            self._settings(bundle),
            codes_only=bundle is None,
            environment={} if self.clock is None else self.clock.environment,
            within=[*DIES_WITH_US, *cable.service_side],
            credentials=credentials(self.certificates.tls),
        )

    def _settings(self, bundle: Path | None) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "listen": {"host": SERVICE_ADDRESS, "port": _PORT},
            "tls": {
                "certificate_file": str(self.certificates.certificate),
                "key_file": str(self.certificates.key),
                "client_ca_file": str(self.certificates.ca),
                "reload_interval_s": RELOAD_S,
            },
            "access": {
                "required": True,
                "grants": [
                    {"identity": f"cert:{CLIENT_NAME}", "role": "admin", "collections": ["*"]}
                ],
            },
            "storage": {"path": str(self.disk / "store")},
            "shutdown_grace_s": _DRAIN_S,
        }
        if bundle is not None:
            settings["model"] = {"bundle": str(bundle)}
            settings["triton"] = {
                "url": f"127.0.0.1:{_TRITON_PORT}",
                "retry_interval_s": 0.5,
            }
        return settings

    def client(self) -> Client:
        """A client as users make it."""
        return Client(self.target, tls=self.certificates.tls)

    def start_service(self) -> None:
        """Start the service, and wait until it listens."""
        self.service.start(ready=False)

    def kill_service(self) -> None:
        """End the service without warning."""
        self.service.kill()
        self._on_death()

    def drain_service(self) -> int:
        """Ask the service to end, wait for it, and return its exit code."""
        code = self.service.stop()
        self._on_death()
        return code

    def died(self) -> list[str]:
        """What ended by itself."""
        process = self.service.process
        dead = []
        if process is not None and process.poll() is not None:
            dead.append(f"the service ended by itself with {process.returncode}")
        if self.triton is not None and self.triton.ended():
            dead.append("Triton ended by itself")
        return dead


@contextlib.contextmanager
def running_stack(
    folder: Path,
    cable: Cable,
    *,
    bundle: Path | None,
    with_clock: bool,
    on_death: Callable[[], None],
) -> Iterator[Stack]:
    """A stack that runs, while the context lasts.

    Args:
        folder: For everything; there already.
        cable: Between clients and service.
        bundle: Of the networks; None: the service takes codes only.
        with_clock: The service's clock can be made to jump.
        on_death: Called when the service was killed or drained.
    """
    (folder / "disk").mkdir()
    stack = Stack(folder, cable, bundle=bundle, with_clock=with_clock, on_death=on_death)
    with contextlib.ExitStack() as held:
        held.enter_context(small_disk(stack.disk, size_mib=_DISK_MIB))
        if stack.triton is not None:
            held.callback(stack.triton.tidy_up)
            stack.triton.start()
        held.callback(_end, stack.service)
        stack.service.start()
        yield stack


def _end(service: ServiceProcess) -> None:
    if service.process is not None:
        with contextlib.suppress(ProcessLookupError):
            service.process.send_signal(signal.SIGCONT)
        service.kill()
