"""Clients that misbehave."""

from __future__ import annotations

import random
import signal
import subprocess
import sys

from tests.chaos.fault import EVERYTHING, Fault
from tests.chaos.namespaces import DIES_WITH_US
from tests.chaos.stack import Stack
from tests.chaos.stalled import STREAMS
from tests.paths import PROJECT
from tests.service_process import service_environment


class ClientStalls(Fault):
    """A client opens streams, sends half, freezes and is killed: others do not notice."""

    name = "client stalls"
    spares = EVERYTHING
    hold_s = (4.0, 8.0)

    def __init__(self) -> None:
        self._stalled: subprocess.Popen[bytes] | None = None

    def inject(self, stack: Stack, chance: random.Random) -> str:
        tls = stack.certificates.tls
        command = [*DIES_WITH_US, sys.executable, "-m", "tests.chaos.stalled", stack.target]
        command += [str(file) for file in (tls.ca_file, tls.certificate_file, tls.key_file)]
        self._stalled = subprocess.Popen(
            command, stdout=subprocess.PIPE, env=service_environment(), cwd=PROJECT
        )
        assert self._stalled.stdout is not None
        if self._stalled.stdout.readline() != b"stalled\n":
            raise AssertionError("the stalling client did not get half-way")
        self._stalled.send_signal(signal.SIGSTOP)
        return f"{2 * STREAMS} streams half-way"

    def heal(self, stack: Stack) -> None:
        assert self._stalled is not None
        with self._stalled as stalled:
            stalled.kill()
