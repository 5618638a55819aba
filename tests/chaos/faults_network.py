"""Networks that are cut."""

from __future__ import annotations

import random

from tests.chaos.fault import WITHOUT_NETWORKS, Fault
from tests.chaos.stack import Stack


class CableOut(Fault):
    """The client's own link is down: its machine knows at once that nobody can be reached."""

    name = "network cut, seen"
    hold_s = (3.0, 8.0)

    def inject(self, stack: Stack, chance: random.Random) -> str:
        stack.cable.pull()
        return "link down at the clients"

    def heal(self, stack: Stack) -> None:
        stack.cable.mend()


class NetworkSilent(Fault):
    """A link further away is down: what is sent vanishes, and nobody says so."""

    name = "network cut, silent"
    hold_s = (3.0, 12.0)

    def inject(self, stack: Stack, chance: random.Random) -> str:
        stack.cable.break_far_away()
        return "link down at the service"

    def heal(self, stack: Stack) -> None:
        stack.cable.mend()


class TritonUnreachable(Fault):
    """The service does not reach Triton any more, though both run."""

    name = "network to Triton cut"
    spares = WITHOUT_NETWORKS
    hold_s = (3.0, 8.0)

    @classmethod
    def why_not(cls, stack: Stack) -> str | None:
        return None if stack.triton is not None else "no Triton in this run"

    def inject(self, stack: Stack, chance: random.Random) -> str:
        stack.cable.break_loopback()
        return "loopback of service and Triton down"

    def heal(self, stack: Stack) -> None:
        stack.cable.mend()
