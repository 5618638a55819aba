"""Threads for what must not run on the event loop: search, disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from slidekin_server.admission import FairPool
from slidekin_server.telemetry import Metrics

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Workers:
    """Four pools, so that no kind of work waits behind another; fair between callers in each.

    What nobody waits for any more is not begun.

    Args:
        search_threads: Searches and rankings at a time. They release the GIL while they compute.
        bulk_every: Of so many turns for which both wait, bulk work gets one.
        metrics: Where to count.
    """

    def __init__(self, search_threads: int, *, bulk_every: int, metrics: Metrics) -> None:
        def pool(stage: str, threads: int) -> FairPool:
            return FairPool(stage, threads, bulk_every=bulk_every, metrics=metrics)

        self._search = pool("search", search_threads)
        # Writes are serialised by the archive anyway: a second thread would only wait for its lock.
        self._write = pool("write", 1)
        self._read = pool("read", 2)
        self._copy = pool("copy", 1)

    async def search(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a computation."""
        return await self._search.run(function, *args, **kwargs)

    async def write(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a change of the archive. Once begun it ends, even where the caller goes away."""
        return await self._write.run(function, *args, **kwargs)

    async def read(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run something that reads the store or walks over many slides."""
        return await self._read.run(function, *args, **kwargs)

    async def copy(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run something that goes over the whole store and takes long, one at a time."""
        return await self._copy.run(function, *args, **kwargs)

    def close(self) -> None:
        """Wait for what runs, drop what waits."""
        for pool in (self._search, self._read, self._write, self._copy):
            pool.close()
