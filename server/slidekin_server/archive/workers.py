"""Threads for what must not run on the event loop: search, disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Workers:
    """Four pools, so that no kind of work waits behind another.

    Args:
        search_threads: Searches and rankings at a time. They release the GIL while they compute.
    """

    def __init__(self, search_threads: int) -> None:
        self._search = ThreadPoolExecutor(search_threads, thread_name_prefix="search")
        # Writes are serialised by the archive anyway: a second thread would only wait for its lock.
        self._write = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._read = ThreadPoolExecutor(2, thread_name_prefix="read")
        self._copy = ThreadPoolExecutor(1, thread_name_prefix="copy")

    async def search(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a computation."""
        return await _run(self._search, function, *args, **kwargs)

    async def write(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a change of the archive. It runs to its end even where the caller goes away."""
        return await _run(self._write, function, *args, **kwargs)

    async def read(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run something that reads the store or walks over many slides."""
        return await _run(self._read, function, *args, **kwargs)

    async def copy(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run something that goes over the whole store and takes long, one at a time."""
        return await _run(self._copy, function, *args, **kwargs)

    def close(self) -> None:
        """Wait for what runs, drop what waits."""
        for pool in (self._search, self._read, self._write, self._copy):
            pool.shutdown(wait=True, cancel_futures=True)


async def _run(
    pool: Executor, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(pool, lambda: function(*args, **kwargs))
