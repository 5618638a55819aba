"""A collector of traces that speaks OTLP over gRPC and over HTTP, as a real one does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

_PATIENCE_S = 60


@dataclass(frozen=True)
class CollectedSpan:
    """One span as it was received."""

    program: str
    """`service.name` of whoever sent it."""
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    failure: str
    """What its status says, where that is an error; else empty."""
    attributes: dict[str, Any]


@dataclass
class Collector:
    """What was received so far."""

    grpc_endpoint: str = ""
    http_endpoint: str = ""
    spans: list[CollectedSpan] = field(default_factory=list)

    def until(self, holds: Callable[[list[CollectedSpan]], bool]) -> list[CollectedSpan]:
        """Wait until what was received is as wanted."""
        deadline = time.monotonic() + _PATIENCE_S
        while not holds(self.spans):
            names = [f"{span.program}: {span.name}" for span in self.spans]
            assert time.monotonic() < deadline, f"received only {names}"
            time.sleep(0.02)
        return list(self.spans)

    def take(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        """Take what a program sent."""
        for of_program in request.resource_spans:
            program = _values(of_program.resource.attributes)["service.name"]
            for scope in of_program.scope_spans:
                self.spans += [_collected(program, span) for span in scope.spans]


def _collected(program: str, span: trace_pb2.Span) -> CollectedSpan:
    failed = span.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    return CollectedSpan(
        program=program,
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        failure=span.status.message if failed else "",
        attributes=_values(span.attributes),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def running_collector() -> Iterator[Collector]:
    """A collector while the context lasts."""
    collector = Collector()

    class Servicer(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
            collector.take(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.take(_from_json(json.loads(body)))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Servicer(), server)
    collector.grpc_endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        collector.http_endpoint = f"http://127.0.0.1:{web.server_port}/v1/traces"
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            web.shutdown()
            thread.join()
            server.stop(0).wait()


def _from_json(content: Any) -> trace_service_pb2.ExportTraceServiceRequest:
    """OTLP's JSON writes ids in hexadecimal, where that of protobuf has base64."""
    for of_program in content["resourceSpans"]:
        for scope in of_program["scopeSpans"]:
            for span in scope["spans"]:
                span["_ids"] = [span.pop(key, "") for key in ("traceId", "spanId", "parentSpanId")]
    ids = [
        span.pop("_ids")
        for of_program in content["resourceSpans"]
        for scope in of_program["scopeSpans"]
        for span in scope["spans"]
    ]
    request = json_format.ParseDict(content, trace_service_pb2.ExportTraceServiceRequest())
    spans = (
        span
        for of_program in request.resource_spans
        for scope in of_program.scope_spans
        for span in scope.spans
    )
    for span, (trace, own, parent) in zip(spans, ids, strict=True):
        span.trace_id, span.span_id = bytes.fromhex(trace), bytes.fromhex(own)
        span.parent_span_id = bytes.fromhex(parent)
    return request
