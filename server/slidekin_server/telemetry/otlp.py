"""OpenTelemetry spans, sent to a collector by OTLP over gRPC. Needs the extra `tracing`.

A separate thread sends the spans from a queue that drops what it cannot hold. A collector that is
slow, full or gone loses spans, and never affects a call.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import grpc
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import Tracer as OtelTracer

from slidekin_server.telemetry.logs import harmless
from slidekin_server.telemetry.metrics import Metrics
from slidekin_server.telemetry.tracing import (
    Span,
    TraceContext,
    TraceExport,
    TracingError,
    Unrecorded,
)

_SERVICE = "slidekin-server"
_SEND_EVERY_S = 1.0
_SEND_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 2.0


class Exporting:
    """Makes the spans of calls and sends them."""

    def __init__(self, export: TraceExport, metrics: Metrics) -> None:
        """Start the sending thread; the collector need not be running.

        Raises:
            TracingError: A file cannot be read.
        """
        self._exporter = _CountedExporter(_otlp_exporter(export), metrics)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(export.sampling_ratio)),
            resource=Resource.create({"service.name": _SERVICE, "service.version": export.version}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(self._exporter, schedule_delay_millis=_SEND_EVERY_S * 1000)
        )
        self._tracer = self._provider.get_tracer("slidekin_server")

    def start_span(self, method: str, parent: TraceContext | None) -> Span:
        """Begin the span of a call; see `StartSpan`."""
        service, _, name = method.strip("/").partition("/")
        span = self._tracer.start_span(
            f"{service}/{name}",
            _remote(parent),
            SpanKind.SERVER,
            {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
        )
        return _span(self._tracer, span)

    def close(self) -> None:
        """Send the remaining spans, for a short time."""
        sending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        sending.start()
        sending.join(_CLOSE_TIMEOUT_S)
        # Stop attempts to send that still run.
        self._exporter.shutdown()
        sending.join()


class _Recorded:
    """An OpenTelemetry span behind the service's interface."""

    def __init__(self, tracer: OtelTracer, span: OtelSpan, context: TraceContext) -> None:
        self._tracer = tracer
        self._span = span
        self.context: TraceContext | None = context

    def child(self, name: str, *, outgoing: bool) -> Span:
        return _span(
            self._tracer,
            self._tracer.start_span(
                name,
                set_span_in_context(self._span, Context()),
                SpanKind.CLIENT if outgoing else SpanKind.INTERNAL,
            ),
        )

    def end(self, facts: Mapping[str, object], *, failure: str = "") -> None:
        for name, value in harmless(facts).items():
            plain = value if isinstance(value, bool | int | float) else str(value)
            self._span.set_attribute(f"slidekin.{name}", plain)
        if failure:
            self._span.set_status(StatusCode.ERROR, failure)
        self._span.end()


def _span(tracer: OtelTracer, span: OtelSpan) -> Span:
    found = span.get_span_context()
    context = TraceContext(
        f"{found.trace_id:032x}", f"{found.span_id:016x}", found.trace_flags.sampled
    )
    return _Recorded(tracer, span, context) if span.is_recording() else Unrecorded(context)


def _remote(parent: TraceContext | None) -> Context:
    """Return the caller's place in its trace as an OpenTelemetry context."""
    if parent is None:
        return Context()
    context = SpanContext(
        int(parent.trace_id, 16),
        int(parent.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(parent.sampled)),
    )
    return set_span_in_context(NonRecordingSpan(context), Context())


def _otlp_exporter(export: TraceExport) -> OTLPSpanExporter:
    roots = None
    if export.ca_file is not None:
        try:
            roots = export.ca_file.read_bytes()
        except OSError as error:
            raise TracingError(
                f"tracing.ca_file: {export.ca_file} cannot be read ({error.strerror}): "
                "name a file of certificates in PEM"
            ) from error
    credentials = grpc.ssl_channel_credentials(roots) if roots else None
    return OTLPSpanExporter(export.endpoint, credentials=credentials, timeout=_SEND_TIMEOUT_S)


class _CountedExporter(SpanExporter):
    """Counts the spans that arrived at the collector and those that did not."""

    def __init__(self, exporter: OTLPSpanExporter, metrics: Metrics) -> None:
        self._exporter = exporter
        self._metrics = metrics

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            outcome = "sent" if result is SpanExportResult.SUCCESS else "lost"
            self._metrics.spans.labels(outcome).inc(len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()
