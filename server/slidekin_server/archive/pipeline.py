"""Bounded work on a stream of patches: the next is read while others are being processed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence

from slidekin_server.admission import Held, InFlight, current_ticket
from slidekin_server.archive.patches import CodedPatch, Patch
from slidekin_server.encoding import PatchImage

CODES_PER_CHUNK = 16
"""Ready-made codes that go to a thread together: a hop costs as much as searching a few."""

Code = Callable[[Sequence[Patch]], Awaitable[list[CodedPatch]]]
Use = Callable[[list[CodedPatch]], Awaitable[None]]


class Pipeline:
    """Runs streams of patches through coding and what follows it.

    Args:
        window: Most chunks of one stream in progress.
        in_flight: Bounds the patches without a code, over all streams.
    """

    def __init__(self, window: int, in_flight: InFlight) -> None:
        self._window = window
        self._in_flight = in_flight

    async def run(self, batches: AsyncIterable[Sequence[Patch]], code: Code, use: Use) -> None:
        """Code the chunks of a stream's patches and use the results, several at a time.

        An image is a chunk of its own; ready-made codes go ``CODES_PER_CHUNK`` at a time. While
        the window is full, or too much is in flight, the stream is not read, so gRPC's flow
        control slows the sender down. A slow reader fills only the window of its own stream,
        nothing that is shared. The first failure, of the stream or of any chunk, ends all other
        chunks and is raised.

        Args:
            batches: The stream.
            code: Codes a chunk; its patches are all images or all codes.
            use: What to do with a chunk's codes.
        """
        slots = asyncio.Semaphore(self._window)
        ticket = current_ticket()

        async def work(chunk: Sequence[Patch], held: Held) -> None:
            try:
                try:
                    coded = await code(chunk)
                finally:
                    held.give_back()
                await use(coded)
            finally:
                slots.release()

        async def begin(batch: Sequence[Patch], tasks: asyncio.TaskGroup) -> None:
            for chunk in _chunks(batch):
                await slots.acquire()
                held = await self._in_flight.take(
                    ticket, patches=len(chunk), image_bytes=_image_bytes(chunk)
                )
                task = tasks.create_task(work(chunk, held))
                # A task that is cancelled before its first step cannot release anything itself.
                task.add_done_callback(held.ended)

        try:
            async with asyncio.TaskGroup() as tasks:
                async for batch in batches:
                    await begin(batch, tasks)
                    # A slow sender may take long to send the next one: do not keep this until then.
                    del batch
        except BaseExceptionGroup as group:
            raise _first(group) from None


def _image_bytes(chunk: Sequence[Patch]) -> int:
    return sum(len(patch.content.data) for patch in chunk if isinstance(patch.content, PatchImage))


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
    """Return the first failure, which most likely caused the others."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
