"""Measuring time and memory of this process."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np


def each_ms(call: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[float]:
    """Time every call by itself, in milliseconds."""
    taken = []
    for values in arguments:
        begin = time.perf_counter_ns()
        call(*values)
        taken.append((time.perf_counter_ns() - begin) / 1e6)
    return taken


def spread(taken: list[float]) -> dict[str, float | int]:
    """Say how figures lie around their median."""
    names = ("p05", "p95", "p99")
    values = np.percentile(taken, [5, 95, 99])
    found: dict[str, float | int] = {
        name: float(f"{value:.4g}") for name, value in zip(names, values, strict=True)
    }
    return {**found, "samples": len(taken)}


def best_ms(call: Callable[[], Any], repeats: int = 3) -> float:
    """Time a call a few times over and return the least, in milliseconds."""
    return min(each_ms(call, [()] * repeats))


def throughputs(
    call: Callable[..., Any],
    arguments: list[tuple[Any, ...]],
    threads: Sequence[int],
    rounds: int = 9,
) -> dict[int, float]:
    """Return calls a second by numbers of threads, each the median of its rounds.

    They take turns: what slows the machine down for a moment slows down all of them.
    """

    def work(part: list[tuple[Any, ...]]) -> None:
        for values in part:
            call(*values)

    rates: dict[int, list[float]] = {number: [] for number in threads}
    with ThreadPoolExecutor(max(threads)) as pool:
        for _ in range(rounds):
            for number, found in rates.items():
                parts = [arguments[first::number] for first in range(number)]
                begin = time.perf_counter()
                list(pool.map(work, parts))
                found.append(len(arguments) / (time.perf_counter() - begin))
    return {number: float(np.median(found)) for number, found in rates.items()}


def rss_bytes(field: str = "VmRSS") -> int:
    """Resident memory of this process: now, or its peak with ``VmHWM``."""
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith(field + ":"))
    return int(kib) * 1024
