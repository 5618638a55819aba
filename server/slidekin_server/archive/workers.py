"""Threads for work that must not run on the event loop: searches and disk access."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from slidekin_server.admission import FairPool
from slidekin_server.telemetry import Metrics

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Workers:
    """Four pools, so that no kind of work waits behind another; each is fair between callers.

    Work whose caller has gone is not started.

    Args:
        search_threads: Searches and rankings at a time. They release the GIL while they compute.
        bulk_every: Bulk work gets one of this many turns when other work waits as well.
        metrics: The metrics to update.
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
        """Run a change of the archive. Once started it is finished, even if the caller goes."""
        return await self._write.run(function, *args, **kwargs)

    async def read(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run something that reads the store or iterates over many slides."""
        return await self._read.run(function, *args, **kwargs)

    async def copy(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run something long that reads the whole store; one at a time."""
        return await self._copy.run(function, *args, **kwargs)

    def close(self) -> None:
        """Wait for running work, and drop waiting work."""
        for pool in (self._search, self._read, self._write, self._copy):
            pool.close()
