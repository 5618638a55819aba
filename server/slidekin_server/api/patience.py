"""How long the service waits for the other end of a stream."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from grpc import aio

from slidekin_server.admission import StreamIdleError


class Patience:
    """Ends streams whose client does nothing, since each takes a place and memory.

    Only the service's own waiting counts: a client may wait for the service as long as it likes.

    Args:
        idle_s: How long to wait for a message, and for the client to read one.
    """

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s

    async def read(self, context: aio.ServicerContext[Any, Any]) -> object:
        """Wait for the next request of a stream; return grpc's ``EOF`` at its end.

        Raises:
            StreamIdleError: Nothing came in time.
        """
        scope = self._scope()
        try:
            async with scope:
                return await context.read()
        except TimeoutError:
            if not scope.expired():
                raise
            raise StreamIdleError("nothing was sent", self._idle_s) from None

    @staticmethod
    async def begin(context: aio.ServicerContext[Any, Any]) -> None:
        """Send the headers, before any write that could be cancelled.

        Otherwise they travel with the first response. If that write is cancelled, by a time-out or
        because another task failed, grpc.aio sends the headers a second time with the status, which
        fails, and the client never learns how the call ended.
        """
        await context.send_initial_metadata(())

    async def write(self, context: aio.ServicerContext[Any, Any], response: object) -> None:
        """Send a response, once flow control allows it.

        Raises:
            StreamIdleError: The client did not read earlier responses in time.
        """
        scope = self._scope()
        try:
            async with scope:
                await context.write(response)
        except TimeoutError:
            if not scope.expired():
                raise
            raise StreamIdleError("what was answered was not read", self._idle_s) from None

    def _scope(self) -> asyncio.Timeout:
        return asyncio.timeout(None if math.isinf(self._idle_s) else self._idle_s)
