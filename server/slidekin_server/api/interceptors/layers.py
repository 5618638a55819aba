"""Layers around every call: the one place that knows grpc's four kinds of handlers.

A layer is an asynchronous context manager that is entered before a call's handler runs and left
when it has ended. It may watch the requests as the handler takes them, and refuse by raising.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, Self

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from slidekin_server.api.patience import Patience
from slidekin_server.api.validation import refuse

Context = aio.ServicerContext[Any, Any]
Watch = Callable[[Any], Awaitable[None]]
"""Sees one request before the handler does; what it raises ends the call."""
_Handle = Callable[[Context, Sequence[Watch]], Awaitable[object]]
"""Handles a call within its layers."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as a layer sees it."""

    method: str
    """Full name with its slashes, for example ``/slidekin.v1.SearchService/SearchSlide``."""
    context: Context
    streams: bool = False
    """Requests or responses are a stream: it is open for as long as its caller likes."""


class Layer(Protocol):
    """Something that happens around every call."""

    def around(self, call: Call) -> AbstractAsyncContextManager[Watch | None]:
        """Return what is entered before the handler and left after it.

        It runs in the call's own task, so that what it binds to the context ends with the call.
        """


_BEHAVIOURS = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}
"""Where a handler keeps its function, by whether requests and responses are streams."""


class CallLayers(aio.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """Puts layers around the calls of all four kinds.

    Args:
        layers: The outermost first: it sees what all others raise.
        patience: How long a caller is waited for who neither sends nor reads.
    """

    def __init__(self, layers: Sequence[Layer], patience: Patience | None = None) -> None:
        self._layers = layers
        self._patience = patience or Patience(math.inf)

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Return the call's handler with the layers around it."""
        handler = await continuation(handler_call_details)
        if handler is None:  # no such method: grpc wants the None back and says UNIMPLEMENTED
            return None  # type: ignore[return-value]
        method = handler_call_details.method
        streams = bool(handler.request_streaming)
        streams_back = bool(handler.response_streaming)
        behaviour = getattr(handler, _BEHAVIOURS[streams, streams_back])
        handle: _Handle
        open_ended = streams or streams_back
        if inspect.isasyncgenfunction(behaviour):
            # It writes what is yielded: were it to yield itself, it would be grpc that waits for a
            # slow reader, out of the layers' reach.
            async def handle(context: Context, watches: Sequence[Watch]) -> object:
                seen = await self._read(context, watches, streams=streams)
                async with contextlib.aclosing(behaviour(seen, context)) as responses:
                    begun = False
                    async for response in responses:
                        if not begun:
                            await self._patience.begin(context)
                            begun = True
                        await self._patience.write(context, response)
                return None
        else:

            async def handle(context: Context, watches: Sequence[Watch]) -> object:
                return await behaviour(await self._read(context, watches, streams=streams), context)

        async def layered(_: object, context: Context) -> object:
            try:
                call = Call(method, context, open_ended)
                return await _within(self._layers, call, (), handle)
            except BaseException as error:
                _forget_frames(error)
                raise

        # Always as a stream, of one request where the method takes one: grpc.aio never answers a
        # call that ends without the request it should have, and waits for ever for one not sent.
        make = (
            grpc.stream_stream_rpc_method_handler
            if streams_back
            else grpc.stream_unary_rpc_method_handler
        )
        return make(
            layered,
            request_deserializer=_forgiving(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    async def _read(self, context: Context, watches: Sequence[Watch], *, streams: bool) -> Any:  # noqa: ANN401  any message of the contract, or a stream of them
        """Return the handler's request, or its stream of requests."""
        requests = _Requests(self._patience, context, watches)
        if streams:
            return requests
        try:
            return await anext(requests)
        except StopAsyncIteration:
            raise refuse(
                "request",
                "the call ended without one: send one message",
                reason="MALFORMED_MESSAGE",
            ) from None


async def _within(
    layers: Sequence[Layer], call: Call, watches: Sequence[Watch], handle: _Handle
) -> object:
    """Enter the layers, the first one outermost, and handle the call within.

    (An AsyncExitStack would do the same, but its frame keeps the traceback that the frame is in.)
    """
    if not layers:
        return await handle(call.context, watches)
    async with layers[0].around(call) as watch:
        more = [] if watch is None else [watch]
        return await _within(layers[1:], call, [*watches, *more], handle)


class _Requests:
    """A stream of requests, as the handler reads it.

    It keeps none of them. grpc's own iterator keeps each until the next one has come, and so would
    a generator: with many streams open, that is much memory for what has long been taken.
    """

    def __init__(self, patience: Patience, context: Context, watches: Sequence[Watch]) -> None:
        self._patience = patience
        self._context = context
        self._watches = watches

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> object:
        request = await self._patience.read(self._context)
        if request is _EOF:
            raise StopAsyncIteration
        return await _seen(request, self._watches)


async def _seen(request: object, watches: Sequence[Watch]) -> object:
    if request is _MALFORMED:
        raise refuse(
            "request",
            "the bytes are no message of this method: use a client of this interface's version",
            reason="MALFORMED_MESSAGE",
        )
    for watch in watches:
        await watch(request)
    return request


def _forget_frames(error: BaseException) -> None:
    """Take the frames off an error that ends a call, and off those that led to it.

    grpc.aio keeps the error beside the call's context, which is in these frames: a circle that
    would hold all that the call looked at, an index version among it, until garbage is collected.
    """
    linked: list[BaseException | None] = [error]
    seen: set[int] = set()
    while linked:
        one = linked.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = None
        linked += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            linked += one.exceptions


_EOF: object = aio.EOF  # type: ignore[attr-defined]  # missing in its stubs

_MALFORMED = object()
"""Stands for bytes that are no message, until a layer can answer for them.

Left to grpc.aio, they would end a unary call with UNKNOWN and the name of a Python exception.
"""


def _forgiving(decode: Callable[[bytes], object] | None) -> Callable[[bytes], object] | None:
    if decode is None:
        return None

    def deserialize(data: bytes) -> object:
        try:
            return decode(data)
        except DecodeError:
            return _MALFORMED

    return deserialize
