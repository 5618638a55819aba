"""Measures every call and logs it in one line."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import grpc
import structlog
from grpc import aio

from .logs import get_logger
from .metrics import Metrics

# Probes come every few seconds: worth a line only to those who ask for all.
_QUIET_PREFIX = "/grpc.health.v1.Health/"
_CODES = {code.value[0]: code for code in grpc.StatusCode}
# They say that we are wrong, not the caller.
_FAULTS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS}

_log = get_logger(__name__)


class _Kind(NamedTuple):
    """How grpc names the behaviour of a kind of call, and makes a handler of it."""

    attribute: str
    make: Callable[..., grpc.RpcMethodHandler[Any, Any]]


_KINDS = {
    (False, False): _Kind("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): _Kind("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): _Kind("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): _Kind("stream_stream", grpc.stream_stream_rpc_method_handler),
}


_Context = aio.ServicerContext[Any, Any]


class CallObserver(aio.ServerInterceptor):  # type: ignore[type-arg]  # not generic when it runs
    """Counts, times and logs calls of all four kinds. Put it first, so that it sees all."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wrap the call's handler."""
        handler = await continuation(handler_call_details)
        if handler is None:  # no such method: grpc wants the None back and says UNIMPLEMENTED
            return None  # type: ignore[return-value]
        method = handler_call_details.method
        kind = _KINDS[bool(handler.request_streaming), bool(handler.response_streaming)]
        behaviour = getattr(handler, kind.attribute)
        observed: Callable[..., Any]
        if inspect.isasyncgenfunction(behaviour):

            async def observed(request: object, context: _Context) -> AsyncIterator[object]:
                with self._observed(method, context):
                    async with contextlib.aclosing(behaviour(request, context)) as responses:
                        async for response in responses:
                            yield response
        else:

            async def observed(request: object, context: _Context) -> object:
                with self._observed(method, context):
                    return await behaviour(request, context)

        return kind.make(
            observed,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    @contextlib.contextmanager
    def _observed(self, method: str, context: _Context) -> Iterator[None]:
        # A call runs in a task of its own, so that what is bound here ends with it.
        structlog.contextvars.clear_contextvars()
        start, peer = time.perf_counter(), context.peer()
        code = grpc.StatusCode.OK
        error: BaseException | None = None
        self._metrics.rpcs_in_progress.labels(method).inc()
        try:
            yield
            code = _code(context)
        except (asyncio.CancelledError, GeneratorExit):
            remaining = context.time_remaining()
            late = remaining is not None and remaining <= 0
            code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
            raise
        except aio.AbortError:
            code = _code(context)
            raise
        except Exception as caught:
            code, error = grpc.StatusCode.UNKNOWN, caught
            raise
        finally:
            duration_s = time.perf_counter() - start
            self._metrics.rpcs_in_progress.labels(method).dec()
            self._metrics.rpcs.labels(method, code.name).inc()
            self._metrics.rpc_seconds.labels(method).observe(duration_s)
            if code in _FAULTS:
                write = _log.error
            elif method.startswith(_QUIET_PREFIX):
                write = _log.debug
            else:
                write = _log.info
            write(
                "call ended",
                method=method,
                code=code.name,
                duration_s=round(duration_s, 6),
                peer=peer,
                exc_info=error,
            )


def _code(context: _Context) -> grpc.StatusCode:
    stated: object = context.code()  # an int, whatever its stubs say
    return stated if isinstance(stated, grpc.StatusCode) else _CODES[int(str(stated or 0))]
