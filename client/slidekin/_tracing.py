"""A span for each attempt of a call, where the program that makes the calls makes traces.

By OpenTelemetry, which need not be installed. The trace travels with the call (``traceparent``), so
that the service's spans, and Triton's, come to lie below the one made here. A span says which
method was called and how it ended, and nothing of what was sent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from slidekin._exceptions import ServiceError

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

Metadata = tuple[tuple[str, str], ...]


class CallTracing:
    """Makes spans of calls.

    Args:
        provider: Makes the spans; None: whatever the program has set up for OpenTelemetry, if
            anything.
    """

    def __init__(self, provider: TracerProvider | None) -> None:
        try:
            from opentelemetry import trace  # noqa: PLC0415  an optional extra
        except ModuleNotFoundError:
            self._tracer = None
        else:
            self._tracer = trace.get_tracer("slidekin", tracer_provider=provider)

    @contextlib.contextmanager
    def attempt(self, service: str, method: str) -> Iterator[Metadata]:
        """Traces one attempt; yields what goes with it.

        The span does not become the program's current one: attempts may be suspended in the midst,
        in generators, while the program does other things.
        """
        if self._tracer is None:
            yield ()
            return
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        full_name = f"slidekin.v1.{service}"
        span = self._tracer.start_span(
            f"{full_name}/{method}",
            kind=SpanKind.CLIENT,
            attributes={"rpc.system": "grpc", "rpc.service": full_name, "rpc.method": method},
        )
        headers: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(headers, set_span_in_context(span))
        try:
            yield tuple(headers.items())
        except Exception as error:
            failure = error.code if isinstance(error, ServiceError) else type(error).__name__
            span.set_status(StatusCode.ERROR, failure)
            raise
        finally:
            span.end()
