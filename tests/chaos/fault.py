"""What every fault has in common."""

from __future__ import annotations

import abc
import random
from typing import ClassVar

from tests.chaos.calls import Kind
from tests.chaos.stack import Stack

WITHOUT_NETWORKS = frozenset({Kind.INGEST, Kind.DELETE, Kind.SEARCH})
"""What goes on where Triton is away."""
EVERYTHING = frozenset(Kind)


class Fault(abc.ABC):
    """One way in which things break, and how they are mended."""

    name: ClassVar[str]
    """For reports."""
    spares: ClassVar[frozenset[Kind]] = frozenset()
    """What goes on while it lasts: no call of these kinds may fail."""
    hold_s: ClassVar[tuple[float, float]] = (2.0, 5.0)
    """How long it lasts: at least, at most."""

    @classmethod
    def why_not(cls, stack: Stack) -> str | None:
        """Why it cannot be tried with this stack, or None where it can."""
        return None

    @abc.abstractmethod
    def inject(self, stack: Stack, chance: random.Random) -> str:
        """Break something, and return what exactly (or nothing to say)."""

    @abc.abstractmethod
    def heal(self, stack: Stack) -> None:
        """Mend it, as whoever runs the service would."""
