"""Measures every call and logs it in one line."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import grpc
import structlog
from grpc import aio

from slidekin_server.api.interceptors.layers import Call, Context
from slidekin_server.telemetry import Metrics, get_logger, open_notes

# Probes come every few seconds: worth a line only to those who ask for all.
_QUIET_PREFIX = "/grpc.health.v1.Health/"
_CODES = {code.value[0]: code for code in grpc.StatusCode}
# They say that we are wrong, not the caller.
_FAULTS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS}

_log = get_logger(__name__)


class CallObserver:
    """Counts, times and logs calls. Put it first, so that it sees all."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @contextlib.asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        """Observe a call."""
        method, context = call.method, call.context
        # A call runs in a task of its own, so that what is bound here ends with it.
        structlog.contextvars.clear_contextvars()
        notes = open_notes()
        start, peer = time.perf_counter(), context.peer()
        error: BaseException | None = None
        self._metrics.rpcs_in_progress.labels(method).inc()
        try:
            yield
        except BaseException as caught:
            error = caught
            raise
        finally:
            code = ended_with(context, error)
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
                **{
                    **notes,
                    "method": method,
                    "code": code.name,
                    "duration_s": round(duration_s, 6),
                    "peer": peer,
                    "exc_info": error if code is grpc.StatusCode.UNKNOWN else None,
                },
            )


def ended_with(context: Context, error: BaseException | None) -> grpc.StatusCode:
    """The status that a call ends with, by what was raised out of its handler, if anything."""
    # aio.InternalError: what the handler still had to say came after the end of the call.
    if isinstance(error, asyncio.CancelledError | GeneratorExit | aio.InternalError):
        remaining = context.time_remaining()
        late = remaining is not None and remaining <= 0
        return grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
    if error is not None and not isinstance(error, aio.AbortError):
        return grpc.StatusCode.UNKNOWN
    stated: object = context.code()  # an int, whatever its stubs say
    return stated if isinstance(stated, grpc.StatusCode) else _CODES[int(str(stated or 0))]
