"""Gives every call its span and its place in the caller's trace."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import structlog

from slidekin_server.api.interceptors.layers import Call
from slidekin_server.api.interceptors.observer import ended_with
from slidekin_server.telemetry import (
    TRACEPARENT,
    StartSpan,
    TraceContext,
    note,
    noted,
    set_span,
)

# Probes and tools: a span for each would bury the others.
_UNTRACED = ("/grpc.health.", "/grpc.reflection.")


class CallTracer:
    """Traces calls. Put it within the observer, whose line tells the trace, and outside all others.

    Args:
        start: Begins the span of a call.
    """

    def __init__(self, start: StartSpan) -> None:
        self._start = start

    @contextlib.asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        """Trace a call."""
        if call.method.startswith(_UNTRACED):
            yield
            return
        span = self._start(call.method, _parent(call))
        if span.context is not None:
            note(trace_id=span.context.trace_id)
            # In every line that is logged for the call, not only in its last one.
            structlog.contextvars.bind_contextvars(trace_id=span.context.trace_id)
        set_span(span)
        error: BaseException | None = None
        try:
            yield
        except BaseException as caught:
            error = caught
            raise
        finally:
            code = ended_with(call.context, error).name
            span.end({**noted(), "code": code}, failure="" if code == "OK" else code)


def _parent(call: Call) -> TraceContext | None:
    for key, value in call.context.invocation_metadata() or ():
        if key == TRACEPARENT and isinstance(value, str):
            return TraceContext.read(value)
    return None
