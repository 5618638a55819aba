"""The set of slides that a search may return."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from slidekin_server.index.errors import ParameterError


class Admitted:
    """A set of slide numbers as a bitmap, in which the walk looks up each patch that it passes.

    Immutable and compared by identity: make one per request and pass the same object with each of
    its patches, so that the index processes it only once.
    """

    __slots__ = ("__weakref__", "beyond", "lock", "mask")

    def __init__(self, mask: NDArray[np.uint8], *, beyond: bool) -> None:
        """Take a bitmap as it is; see `only` and `all_except` for the usual ways.

        Args:
            mask: Shape (m,), by slide number: 1 = admitted, 0 = not.
            beyond: Whether slide numbers >= m are admitted.
        """
        self.mask = np.ascontiguousarray(mask, dtype=np.uint8)
        self.mask.setflags(write=False)
        self.beyond = beyond
        self.lock = threading.Lock()
        """Held while an index computes what this filter admits."""

    @classmethod
    def only(cls, numbers: Iterable[int]) -> Admitted:
        """Admit these slides and no others."""
        chosen = _as_numbers(numbers)
        mask = np.zeros(int(chosen.max(initial=-1)) + 1, dtype=np.uint8)
        mask[chosen] = 1
        return cls(mask, beyond=False)

    @classmethod
    def all_except(cls, numbers: Iterable[int]) -> Admitted:
        """Admit every slide but these."""
        left_out = _as_numbers(numbers)
        mask = np.ones(int(left_out.max(initial=-1)) + 1, dtype=np.uint8)
        mask[left_out] = 0
        return cls(mask, beyond=True)

    def __contains__(self, number: int) -> bool:
        return bool(self.mask[number]) if 0 <= number < len(self.mask) else self.beyond

    def bitmap(self, length: int) -> NDArray[np.uint8]:
        """Return the bitmap for slide numbers 0..length - 1. O(length)."""
        bitmap = np.full(length, int(self.beyond), dtype=np.uint8)
        known = min(length, len(self.mask))
        bitmap[:known] = self.mask[:known]
        return bitmap


def _as_numbers(numbers: Iterable[int]) -> NDArray[np.int64]:
    array = np.fromiter(numbers, dtype=np.int64)
    if array.min(initial=0) < 0 or array.max(initial=0) >= 2**31:
        raise ParameterError("numbers", "slide numbers must lie in 0..2**31 - 1")
    return array
