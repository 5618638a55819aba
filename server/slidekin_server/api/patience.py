"""How long a stream's other end is waited for."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from grpc import aio

from slidekin_server.admission import StreamIdleError


class Patience:
    """Ends streams whose other end does nothing: each holds a place, and memory.

    Only waiting counts. A caller who waits for us may do so for as long as it takes.

    Args:
        idle_s: How long a message is waited for, and how long it may take to be read.
    """

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s

    async def read(self, context: aio.ServicerContext[Any, Any]) -> object:
        """Return the next request of a stream, as soon as it comes; grpc's ``EOF`` at its end.

        Raises:
            StreamIdleError: Nothing came for too long.
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
        """Send the headers, before anything that writes can be cancelled.

        They travel with the first response else. Where its writing is cancelled, by a failure of
        another task or by its time, grpc.aio tries to send them once more with the status, which
        fails: the caller would never be told how the call ended.
        """
        await context.send_initial_metadata(())

    async def write(self, context: aio.ServicerContext[Any, Any], response: object) -> None:
        """Send a response, as soon as there is room for it on its way.

        Raises:
            StreamIdleError: Those before it were not read for too long.
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
