"""The server's own OpenTelemetry traces of requests."""

from __future__ import annotations


def trace_arguments(url: str) -> list[str]:
    """Return arguments that make the server send its spans to a collector; none without one.

    Only requests with a ``traceparent`` are traced; the search service sends it with requests whose
    trace is recorded. Over gRPC, Triton 2.51 overlooks it in about one request of eight, at random,
    and such a trace ends at the service. Over HTTP it overlooks none.

    Args:
        url: Of a collector that accepts OTLP over HTTP in JSON, the only form Triton 2.51 supports.
    """
    if not url:
        return []
    return [
        "--trace-config=mode=opentelemetry",
        "--trace-config=level=TIMESTAMPS",
        # Rate 0: no request without a context is traced.
        "--trace-config=rate=0",
        f"--trace-config=opentelemetry,url={url}",
        "--trace-config=opentelemetry,resource=service.name=triton",
    ]
