"""Metrics, logs and traces of the service; all names are defined here."""

from slidekin_server.telemetry.logs import configure_logging, count_lost_lines, get_logger
from slidekin_server.telemetry.metrics import (
    ENCODER_STATES,
    Exposition,
    ExpositionError,
    Metrics,
    Stage,
    Waiting,
    start_exposition,
)
from slidekin_server.telemetry.notes import note, noted, open_notes
from slidekin_server.telemetry.tracing import (
    INFER,
    TRACEPARENT,
    Span,
    StartSpan,
    TraceContext,
    TraceExport,
    TracingError,
    exported_spans,
    outgoing_headers,
    set_span,
    start_unrecorded,
    traced,
)

__all__ = [
    "ENCODER_STATES",
    "INFER",
    "TRACEPARENT",
    "Exposition",
    "ExpositionError",
    "Metrics",
    "Span",
    "Stage",
    "StartSpan",
    "TraceContext",
    "TraceExport",
    "TracingError",
    "Waiting",
    "configure_logging",
    "count_lost_lines",
    "exported_spans",
    "get_logger",
    "note",
    "noted",
    "open_notes",
    "outgoing_headers",
    "set_span",
    "start_exposition",
    "start_unrecorded",
    "traced",
]
