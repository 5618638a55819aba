"""Traces: which part of a call took how long, from the caller through this service into Triton.

A call has a span; each stage of its work has one below the span that it was begun in. Spans are
found through a context variable, as tasks inherit it: code that works for a call says `traced` and
needs to know nothing else. What makes and sends spans is in `otlp`, an optional extra; without it,
and in calls that nobody traces, all this costs a look at a variable.

The names of spans are the methods' and those of `Stage`; their attributes pass the allow-list of
the logs.
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
"""The header in which a trace is handed on (W3C Trace Context)."""
INFER = "infer"
"""Span of one patch at Triton, its waiting for a turn not included."""

_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_SAMPLED = 0x01


class TracingError(Exception):
    """Traces cannot be made as configured; says why and the cure."""


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
        """Read a ``traceparent``; None where it is broken, which is as good as a missing one."""
        match = _HEADER.fullmatch(header)
        if match is None:
            return None
        version, trace_id, span_id, flags, more = match.groups()
        # Version 00 ends after the flags; later ones may add to it; ff is none.
        if version == "ff" or (version == "00" and more):
            return None
        if not int(trace_id, 16) or not int(span_id, 16):
            return None
        return cls(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))

    @property
    def header(self) -> str:
        """The ``traceparent`` that hands it on."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


class Span(Protocol):
    """One part of a trace, while it lasts."""

    @property
    def context(self) -> TraceContext | None:
        """Its place; None where there is no trace."""

    def child(self, name: str, *, outgoing: bool) -> Span:
        """Begin a span below this one; ``outgoing``: of a request to another program."""

    def end(self, facts: Mapping[str, object], *, failure: str = "") -> None:
        """End it, with what is known of it by name; ``failure`` says how it went wrong."""


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """Stands where nothing is recorded. A caller's trace is handed on all the same."""

    context: TraceContext | None = None

    def child(self, name: str, *, outgoing: bool) -> Span:  # noqa: ARG002
        """Return itself."""
        return self

    def end(self, facts: Mapping[str, object], *, failure: str = "") -> None:
        """Do nothing."""


StartSpan = Callable[[str, TraceContext | None], Span]
"""Begins the span of a call, by its method and by what the caller handed on."""


def start_unrecorded(_: str, parent: TraceContext | None) -> Span:
    """`StartSpan` where no traces are made."""
    return Unrecorded(parent)


_current: ContextVar[Span] = ContextVar("span")
_NOWHERE = Unrecorded()


def current_span() -> Span:
    """The span that work done now belongs to."""
    return _current.get(_NOWHERE)


def set_span(span: Span) -> None:
    """State which span the work belongs to, until the task that states it ends."""
    _current.set(span)


@contextlib.contextmanager
def traced(name: str, *, outgoing: bool = False, **facts: object) -> Iterator[None]:
    """Trace a block that belongs to a call.

    Args:
        name: Of the span.
        outgoing: It is a request to another program.
        facts: What is known of it, under names of the logs' allow-list.
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
    """Headers that hand the trace on to another program; none where it is not recorded."""
    context = current_span().context
    # Triton 2.51 traces every request that comes with a context, also one that is not sampled.
    return {TRACEPARENT: context.header} if context and context.sampled else {}


@dataclass(frozen=True, slots=True)
class TraceExport:
    """Where spans go."""

    endpoint: str
    """Collector that speaks OTLP over gRPC: ``http://HOST:4317``, or ``https://`` for TLS."""
    sampling_ratio: float
    """Share of calls that are traced where the caller did not decide."""
    version: str
    """Of the service."""
    ca_file: Path | None = None
    """Certificates that the collector's is checked against; None: the system's."""


@contextlib.contextmanager
def exported_spans(export: TraceExport, metrics: Metrics) -> Iterator[StartSpan]:
    """Make spans and send them, while the context lasts.

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
