"""Client streams: a header first, then patches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from slidekin.v1 import search_pb2, slides_pb2
from slidekin_server.api.errors import IncompleteStreamError
from slidekin_server.api.patches import PatchReader
from slidekin_server.api.validation import refuse
from slidekin_server.archive.patches import Patch
from slidekin_server.telemetry import Metrics

_Message = slides_pb2.AddSlideRequest | search_pb2.SearchSlideRequest
_M = TypeVar("_M", slides_pb2.AddSlideRequest, search_pb2.SearchSlideRequest)


async def first(messages: AsyncIterator[_M]) -> _M:
    """Return the first message of a stream, which must hold the header.

    Raises:
        InvalidRequestError: There is none, or it holds something else.
    """
    try:
        message = await anext(messages)
    except StopAsyncIteration:
        raise refuse(
            "header", "the stream is empty; its first message must hold the header"
        ) from None
    match message.WhichOneof("payload"):
        case "header":
            return message
        case "patches":
            raise refuse("patches", "come before the header; send the header first")
        case "end":
            raise refuse("end", "comes before the header; send the header first")
        case _:
            raise refuse("header", "the first message holds nothing; it must hold the header")


class StreamEnd:
    """What the last message of an AddSlide stream said, once it has come.

    grpc.aio ends the iteration over a broken stream just as over a finished one, so that only a
    message of its own tells them apart.
    """

    def __init__(self) -> None:
        self.announced: int | None = None

    def require(self, name: str, *, received: int) -> None:
        """Refuse a stream that was cut off.

        Raises:
            IncompleteStreamError: No end came, or patches are missing.
        """
        if self.announced != received:
            raise IncompleteStreamError(name, announced=self.announced, received=received)


async def batches(
    messages: AsyncIterator[_Message],
    reader: PatchReader,
    metrics: Metrics,
    *,
    end: StreamEnd | None = None,
) -> AsyncIterator[Sequence[Patch]]:
    """Yield the patches of the messages after the first.

    Args:
        messages: What follows the header.
        reader: Reads and checks patches.
        metrics: Where to count.
        end: Takes the stream's last message, where its kind of stream has one.

    Raises:
        InvalidRequestError: A message holds something else, or a patch is wrong.
    """
    async for message in messages:
        if end is not None and end.announced is not None:
            raise refuse("end", "is followed by another message; it must be the last")
        match message.WhichOneof("payload"):
            case "patches":
                metrics.patches_per_message.observe(len(message.patches.patches))
                patches = reader.read(message.patches.patches)
                # The message and, in the end, its patches are not kept while others are waited for.
                del message
                yield patches
                del patches
            case "header":
                raise refuse(
                    "header", "comes a second time; a stream has one, in its first message"
                )
            case "end" if end is not None and isinstance(message, slides_pb2.AddSlideRequest):
                end.announced = message.end.patch_count
            case _:
                raise refuse("patches", "a message after the first holds none")
