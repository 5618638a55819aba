"""A disk that fills up."""

from __future__ import annotations

import random

from tests.chaos.calls import Kind
from tests.chaos.fault import Fault
from tests.chaos.stack import Stack
from tests.small_disk import fill, free


class DiskFull(Fault):
    """Something else takes all space of the store's disk; slides can be searched and deleted."""

    name = "disk full"
    spares = frozenset({Kind.SEARCH, Kind.DELETE, Kind.IMAGE_SEARCH})
    hold_s = (5.0, 10.0)

    def inject(self, stack: Stack, chance: random.Random) -> str:
        fill(stack.disk)
        return "no byte left"

    def heal(self, stack: Stack) -> None:
        free(stack.disk)
