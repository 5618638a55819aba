"""The hits of all bags of a query, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slidekin_server.values import Bag


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Columns of ``n`` hits, bag after bag, each bag's in its order."""

    begins: NDArray[np.int64]
    """Shape (bags + 1,). Place of each bag's first hit; ``n`` at the end."""
    slides: NDArray[np.int64]
    """Shape (n,). Numbers of the slides that own the matched patches."""
    distances: NDArray[np.int32]
    """Shape (n,). Hamming distances in bits, ascending within a bag."""

    @classmethod
    def of(cls, bags: Sequence[Bag]) -> Hits:
        """Put bags side by side, by query patch, including empty ones. O(n)."""
        begins = np.zeros(len(bags) + 1, dtype=np.int64)
        np.cumsum([len(bag) for bag in bags], out=begins[1:])
        return cls(
            begins,
            np.concatenate([np.empty(0, dtype=np.int64), *(bag.slides for bag in bags)]),
            np.concatenate([np.empty(0, dtype=np.int32), *(bag.distances for bag in bags)]),
        )

    def __len__(self) -> int:
        """Return the number of hits."""
        return len(self.slides)

    @property
    def bag_count(self) -> int:
        """Number of bags."""
        return len(self.begins) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Shape (bags,). Number of hits of each bag."""
        return np.diff(self.begins)

    @property
    def slide_bound(self) -> int:
        """More than any slide's number."""
        return int(self.slides.max(initial=-1)) + 1

    def bag_of(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which bags the hits at these places are of."""
        return np.searchsorted(self.begins, places, side="right") - 1

    def only(self, wanted: NDArray[np.bool_]) -> Hits:
        """Return the hits that are marked; bags without any remain, empty."""
        before = np.zeros(len(self) + 1, dtype=np.int64)
        np.cumsum(wanted, out=before[1:])
        return Hits(before[self.begins], self.slides[wanted], self.distances[wanted])
