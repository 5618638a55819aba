"""Traces: how long each part of a call took, from the caller through this service into Triton.

A call has a span; each stage of its work has a span below the one in which it began. The current
span is in a context variable, which tasks inherit: code that works for a call uses `traced` and
needs to know nothing else. `otlp`, an optional extra, makes and sends the spans. Without it, and in
calls that are not traced, the cost is reading a variable.

Spans are named after the methods and the members of `Stage`; their attributes pass the allow-list
of the logs.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from slidekin_server.telemetry.metrics import Metrics

TRACEPARENT = "traceparent"
"""The header that passes a trace on (W3C Trace Context)."""
INFER = "infer"
"""Span of one patch at Triton, without the wait for its turn."""

_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_SAMPLED = 0x01


class TracingError(Exception):
    """Traces cannot be made as configured; the message gives the reason and the cure."""


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A place in a trace."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    sampled: bool
    """Whether the trace is recorded."""

    @classmethod
    def read(cls, header: str) -> TraceContext | None:
        """Read a ``traceparent``; None if it is malformed, which counts as missing."""
        match = _HEADER.fullmatch(header)
        if match is None:
            return None
        version, trace_id, span_id, flags, more = match.groups()
        # Version 00 ends after the flags; later versions may add fields; ff is not a version.
        if version == "ff" or (version == "00" and more):
            return None
        if not int(trace_id, 16) or not int(span_id, 16):
            return None
        return cls(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))

    @property
    def header(self) -> str:
        """The ``traceparent`` that passes it on."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


class Span(Protocol):
    """One part of a trace, while it lasts."""

    @property
    def context(self) -> TraceContext | None:
        """Its place in the trace; None if there is no trace."""

    def child(self, name: str, *, outgoing: bool) -> Span:
        """Begin a span below this one; ``outgoing``: for a request to another program."""

    def end(self, facts: Mapping[str, object], *, failure: str = "") -> None:
        """End it, with named facts about it; ``failure`` says how it failed."""


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """A span that is not recorded. The caller's trace is still passed on."""

    context: TraceContext | None = None

    def child(self, name: str, *, outgoing: bool) -> Span:  # noqa: ARG002
        """Return itself."""
        return self

    def end(self, facts: Mapping[str, object], *, failure: str = "") -> None:
        """Do nothing."""


StartSpan = Callable[[str, TraceContext | None], Span]
"""Begins the span of a call, from its method and the caller's place in a trace."""


def start_unrecorded(_: str, parent: TraceContext | None) -> Span:
    """`StartSpan` that makes no traces."""
    return Unrecorded(parent)


_current: ContextVar[Span] = ContextVar("span")
_NOWHERE = Unrecorded()


def current_span() -> Span:
    """Return the span of the current work."""
    return _current.get(_NOWHERE)


def set_span(span: Span) -> None:
    """Set the span of the current work, until the current task ends."""
    _current.set(span)


@contextlib.contextmanager
def traced(name: str, *, outgoing: bool = False, **facts: object) -> Iterator[None]:
    """Trace a block that belongs to a call.

    Args:
        name: Name of the span.
        outgoing: Whether it is a request to another program.
        facts: Facts about it, under names in the logs' allow-list.
    """
    span = current_span().child(name, outgoing=outgoing)
    token = _current.set(span)
    failure = ""
    try:
        yield
    except BaseException as error:
        failure = type(error).__name__
        raise
    finally:
        _current.reset(token)
        span.end(facts, failure=failure)


def outgoing_headers() -> dict[str, str]:
    """Return headers that pass the trace on to another program; none if it is not recorded."""
    context = current_span().context
    # Triton 2.51 traces every request that has a context, even if it is not sampled.
    return {TRACEPARENT: context.header} if context and context.sampled else {}


@dataclass(frozen=True, slots=True)
class TraceExport:
    """Where and how spans are sent."""

    endpoint: str
    """Collector that speaks OTLP over gRPC: ``http://HOST:4317``, or ``https://`` for TLS."""
    sampling_ratio: float
    """Share of calls that are traced if the caller did not decide."""
    version: str
    """Of the service."""
    ca_file: Path | None = None
    """CA certificates to check the collector's against; None: the system's."""


@contextlib.contextmanager
def exported_spans(export: TraceExport, metrics: Metrics) -> Iterator[StartSpan]:
    """Make and send spans while the context lasts.

    Raises:
        TracingError: OpenTelemetry is not installed, or a file cannot be read.
    """
    try:
        from slidekin_server.telemetry.otlp import Exporting  # noqa: PLC0415  an optional extra
    except ModuleNotFoundError:
        raise TracingError(
            "tracing.endpoint is set, and OpenTelemetry is not installed: "
            "pip install 'slidekin[tracing]', or leave tracing.endpoint empty"
        ) from None
    exporting = Exporting(export, metrics)
    try:
        yield exporting.start_span
    finally:
        exporting.close()
