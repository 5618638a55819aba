"""Bounded work on a stream of patches: the next one is read while others are under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence

from slidekin_server.archive.patches import Patch
from slidekin_server.encoding import PatchImage

CODES_PER_CHUNK = 16
"""Ready-made codes that travel together to a thread: a hop costs as much as searching a few."""


async def for_each_chunk(
    batches: AsyncIterable[Sequence[Patch]],
    work: Callable[[Sequence[Patch]], Awaitable[None]],
    *,
    window: int,
) -> None:
    """Run ``work`` on chunks of a stream's patches, several at a time.

    An image is a chunk of its own; ready-made codes travel ``CODES_PER_CHUNK`` at a time. The
    stream is not read on while ``window`` chunks are under way, so gRPC's flow control reaches the
    sender. The first failure, of the stream or of any chunk, ends all the others and is raised.

    Args:
        batches: The stream.
        work: What to do with a chunk; its patches are all images or all codes.
        window: Chunks under way at most.
    """
    slots = asyncio.Semaphore(window)

    async def run(chunk: Sequence[Patch]) -> None:
        try:
            await work(chunk)
        finally:
            slots.release()

    try:
        async with asyncio.TaskGroup() as tasks:
            async for batch in batches:
                for chunk in _chunks(batch):
                    await slots.acquire()
                    tasks.create_task(run(chunk))
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _chunks(batch: Sequence[Patch]) -> list[Sequence[Patch]]:
    chunks: list[Sequence[Patch]] = []
    codes: list[Patch] = []
    for patch in batch:
        if isinstance(patch.content, PatchImage):
            chunks.append([patch])
        else:
            codes.append(patch)
    chunks.extend(
        codes[start : start + CODES_PER_CHUNK] for start in range(0, len(codes), CODES_PER_CHUNK)
    )
    return chunks


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what failed first: the others were most likely ended by it."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
