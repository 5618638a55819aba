"""Processes that are killed, frozen or told to end."""

from __future__ import annotations

import random
import signal
from typing import ClassVar

from tests.chaos.calls import Kind
from tests.chaos.fault import WITHOUT_NETWORKS, Fault
from tests.chaos.stack import Stack


class ServiceKilled(Fault):
    """SIGKILL, then a start, as systemd makes it."""

    name = "service killed"

    def inject(self, stack: Stack, chance: random.Random) -> str:
        stack.kill_service()
        return "SIGKILL"

    def heal(self, stack: Stack) -> None:
        stack.start_service()


class ServiceDrained(Fault):
    """SIGTERM under load: what is under way ends well, the process in order and in time."""

    name = "service drained"
    hold_s = (0.0, 2.0)

    def inject(self, stack: Stack, chance: random.Random) -> str:
        code = stack.drain_service()
        if code != 0:
            raise AssertionError(f"the service ended with {code} after SIGTERM")
        return "SIGTERM"

    def heal(self, stack: Stack) -> None:
        stack.start_service()


class ServiceFrozen(Fault):
    """Not a step for seconds, as when a virtual machine is moved; then on as if nothing was."""

    name = "service frozen"

    def inject(self, stack: Stack, chance: random.Random) -> str:
        assert stack.service.process is not None
        stack.service.process.send_signal(signal.SIGSTOP)
        return "SIGSTOP"

    def heal(self, stack: Stack) -> None:
        assert stack.service.process is not None
        stack.service.process.send_signal(signal.SIGCONT)


class _OfTriton(Fault):
    spares: ClassVar[frozenset[Kind]] = WITHOUT_NETWORKS

    @classmethod
    def why_not(cls, stack: Stack) -> str | None:
        return None if stack.triton is not None else "no Triton in this run"


class TritonKilled(_OfTriton):
    """SIGKILL; its launcher ends with it, and is started again."""

    name = "Triton killed"

    def inject(self, stack: Stack, chance: random.Random) -> str:
        assert stack.triton is not None
        stack.triton.signal(signal.SIGKILL)
        stack.triton.tidy_up()
        return "SIGKILL"

    def heal(self, stack: Stack) -> None:
        assert stack.triton is not None
        stack.triton.start()


class TritonFrozen(_OfTriton):
    """It keeps its connections and says nothing, as when a driver hangs."""

    name = "Triton frozen"
    hold_s = (3.0, 8.0)

    def inject(self, stack: Stack, chance: random.Random) -> str:
        assert stack.triton is not None
        stack.triton.signal(signal.SIGSTOP)
        return "SIGSTOP"

    def heal(self, stack: Stack) -> None:
        assert stack.triton is not None
        stack.triton.signal(signal.SIGCONT)
