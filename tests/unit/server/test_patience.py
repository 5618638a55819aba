"""What a caller is told when a response was under way as its call failed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio

from slidekin_server.admission import StreamIdleError
from slidekin_server.api.interceptors.errors import ErrorMapper
from slidekin_server.api.interceptors.layers import CallLayers
from slidekin_server.api.patience import Patience

_METHOD = "/test.Streams/Ask"
_LARGE = bytes(16 * 1024 * 1024)
"""More than gRPC takes of what nobody reads."""


async def _answered(behaviour: Any, patience: Patience) -> aio.AioRpcError:
    """Make a call whose responses are not read until it has failed."""
    handler = grpc.stream_stream_rpc_method_handler(
        behaviour, request_deserializer=bytes, response_serializer=bytes
    )
    server = aio.server(interceptors=[CallLayers([ErrorMapper()], patience)])
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("test.Streams", {"Ask": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = [("grpc.max_receive_message_length", -1)]
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            call = channel.stream_stream(_METHOD)(timeout=10)
            await asyncio.sleep(0.5)
            with pytest.raises(aio.AioRpcError) as caught:
                async for _ in call:
                    pass
    finally:
        await server.stop(None)
    return caught.value


@pytest.mark.asyncio
async def test_a_call_that_fails_while_it_answers_says_why() -> None:
    patience = Patience(math.inf)

    async def fail(_requests: Any, context: Any) -> None:
        await patience.begin(context)
        writing = asyncio.create_task(patience.write(context, b"first"))
        await asyncio.sleep(0)
        writing.cancel()
        raise StreamIdleError("the test ends it", 1)

    error = await _answered(fail, patience)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "the test ends it" in (error.details() or "")


@pytest.mark.asyncio
async def test_a_caller_who_does_not_read_the_first_response_is_told_so() -> None:
    async def answer(_requests: Any, _context: Any) -> AsyncIterator[bytes]:
        while True:
            yield _LARGE

    error = await _answered(answer, Patience(0.1))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "was not read" in (error.details() or "")
