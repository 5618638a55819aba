"""What the machine takes to read memory in no order: the limit of anything that looks around."""

from __future__ import annotations

import time

import numba
import numpy as np
from numpy.typing import NDArray

_LINE_BYTES = 64
_READS = 2_000_000


@numba.njit
def _sum(memory: NDArray[np.int64], places: NDArray[np.int64]) -> int:
    # No read depends on another: the processor has as many under way as it can.
    total = 0
    for place in places:
        total += memory[place]
    return total


def line_ns(size_bytes: int) -> float:
    """Return nanoseconds a cache line, read from anywhere in so much memory."""
    memory = np.ones(size_bytes // 8, dtype=np.int64)
    lines = size_bytes // _LINE_BYTES
    places = np.random.default_rng(1).integers(0, lines, _READS) * (_LINE_BYTES // 8)
    _sum(memory, places[:1])
    begin = time.perf_counter_ns()
    _sum(memory, places)
    return (time.perf_counter_ns() - begin) / _READS
