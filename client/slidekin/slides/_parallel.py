"""Work in several threads, results in order, memory bounded."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_workers() -> int:
    """Threads that read one slide: past four, decoding waits for the disk."""
    return min(4, os.cpu_count() or 1)


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | None = None,
    ahead: int | None = None,
) -> Iterator[Result]:
    """Apply ``function`` to each item in threads; yield results in the order of the items.

    At most ``ahead`` results (default: twice the threads) exist before they are asked for, so
    a slow consumer holds the readers back. The first error is raised where its result would have
    come, and what had not begun is dropped.

    Raises:
        ValueError: ``workers`` or ``ahead`` below 1.
    """
    threads = default_workers() if workers is None else workers
    bound = 2 * threads if ahead is None else ahead
    if threads < 1 or bound < 1:
        raise ValueError(f"workers and ahead are at least 1, not {threads} and {bound}")
    return _ordered(function, iter(items), threads, bound)


def _ordered(
    function: Callable[[Item], Result], source: Iterator[Item], workers: int, ahead: int
) -> Iterator[Result]:
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="slidekin-read") as pool:
        try:
            pending.extend(pool.submit(function, item) for item in islice(source, ahead))
            while pending:
                result = pending.popleft().result()
                yield result
                # Topped up only now: the one just yielded still lives with the consumer.
                pending.extend(pool.submit(function, item) for item in islice(source, 1))
        finally:
            for future in pending:
                future.cancel()
