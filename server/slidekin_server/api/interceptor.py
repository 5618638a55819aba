"""Wraps every handler: exceptions become statuses, and never anything else."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import structlog
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc import aio
from grpc_status import rpc_status

from slidekin_server.api.errors import status_of


class ErrorMapper(aio.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """Answers a handler's exception with ``status_of``."""

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Return the handler that guards the one asked for."""
        handler = await continuation(handler_call_details)
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            # Without a handler, for want of such a method, grpc answers UNIMPLEMENTED.
            inner = getattr(handler, kind, None)
            if inner is not None:
                wrapped = (
                    _generator(inner) if inspect.isasyncgenfunction(inner) else _coroutine(inner)
                )
                make = getattr(grpc, f"{kind}_rpc_method_handler")
                guarded: grpc.RpcMethodHandler[Any, Any] = make(
                    wrapped,
                    request_deserializer=handler.request_deserializer,
                    response_serializer=handler.response_serializer,
                )
                return guarded
        return handler


Handler = Callable[[Any, aio.ServicerContext[Any, Any]], Any]


def _coroutine(inner: Handler) -> Handler:
    async def guarded(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:  # noqa: ANN401
        try:
            return await inner(request, context)
        except BaseException as error:  # noqa: BLE001  every exception is answered
            await _answer(error, context)

    return guarded


def _generator(inner: Handler) -> Handler:
    async def guarded(
        request: Any,  # noqa: ANN401
        context: aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[Any]:
        try:
            async for response in inner(request, context):
                yield response
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001  every exception is answered
            await _answer(error, context)

    return guarded


async def _answer(error: BaseException, context: aio.ServicerContext[Any, Any]) -> None:
    """End the call with the error's status; raises."""
    if isinstance(error, aio.AbortError | KeyboardInterrupt | SystemExit):
        raise error
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # The call itself was cancelled: nobody waits for an answer.
            raise error
        # A cancelled part of the work. Raised on, it would leave the client waiting for ever.
        error = RuntimeError("part of the call's work was cancelled")
    status = status_of(error)
    structlog.contextvars.bind_contextvars(reason=_reason(status))
    await context.abort_with_status(  # type: ignore[attr-defined]  # missing in its stubs
        rpc_status.to_status(status)
    )


def _reason(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return str(info.reason)
    return str(code_pb2.Code.Name(status.code))
