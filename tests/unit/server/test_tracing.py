"""Places in traces are read as W3C says; spans hold nothing that a log line may not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from tests.otlp_collector import running_collector
from tests.service_process import service_environment

from slidekin_server.telemetry import (
    Metrics,
    TraceContext,
    TraceExport,
    TracingError,
    exported_spans,
    outgoing_headers,
    set_span,
    start_unrecorded,
    traced,
)
from slidekin_server.telemetry.tracing import current_span

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
METHOD = "/slidekin.v1.SearchService/SearchSlide"


@pytest.mark.parametrize("sampled", [True, False])
def test_a_place_that_is_handed_on_is_read_as_it_was(sampled: bool):  # noqa: FBT001
    context = TraceContext(TRACE, SPAN, sampled=sampled)
    assert TraceContext.read(context.header) == context


def test_a_later_version_may_say_more():
    assert TraceContext.read(f"01-{TRACE}-{SPAN}-01-more") == TraceContext(
        TRACE, SPAN, sampled=True
    )


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_a_broken_header_is_as_good_as_none(header: str):
    assert TraceContext.read(header) is None


@given(st.text())
def test_whatever_is_sent_is_read_or_passed_over(header: str):
    context = TraceContext.read(header)
    assert context is None or TraceContext.read(context.header) == context


def test_outside_of_a_call_nothing_is_traced():
    with traced("encode"):
        assert current_span().context is None
        assert outgoing_headers() == {}


@pytest.mark.parametrize("sampled", [True, False])
def test_without_a_collector_a_callers_trace_is_handed_on(sampled: bool):  # noqa: FBT001
    context = TraceContext(TRACE, SPAN, sampled=sampled)
    set_span(start_unrecorded(METHOD, context))
    with traced("encode"):
        assert outgoing_headers() == ({"traceparent": context.header} if sampled else {})


def test_spans_lie_below_each_other_and_hold_what_a_log_line_may():
    registry = CollectorRegistry()
    with running_collector() as collector:
        export = TraceExport(collector.grpc_endpoint, sampling_ratio=1.0, version="1")
        with exported_spans(export, Metrics(registry)) as start:
            call = start(METHOD, TraceContext(TRACE, SPAN, sampled=True))
            set_span(call)
            with traced("encode", patches=3, collection="secret", patient="secret", label="secret"):
                with pytest.raises(ZeroDivisionError), traced("infer", outgoing=True):
                    raise ZeroDivisionError("secret")
                inner = outgoing_headers()
            call.end({"mode": "hybrid"}, failure="INTERNAL")
        spans = {span.name: span for span in collector.spans}
    top, stage = spans[METHOD[1:]], spans["encode"]
    request = spans["infer"]
    assert {span.trace_id for span in spans.values()} == {TRACE}
    assert (top.parent_id, stage.parent_id, request.parent_id) == (SPAN, top.span_id, stage.span_id)
    assert (top.kind, stage.kind, request.kind) == ("SERVER", "INTERNAL", "CLIENT")
    assert (top.failure, stage.failure, request.failure) == ("INTERNAL", "", "ZeroDivisionError")
    assert inner == {"traceparent": f"00-{TRACE}-{stage.span_id}-01"}
    assert top.attributes["slidekin.mode"] == "hybrid"
    assert stage.attributes.keys() == {
        f"slidekin.{key}" for key in ("patches", "collection", "patient")
    }
    assert stage.attributes["slidekin.patches"] == 3
    assert "secret" not in str(collector.spans)
    assert registry.get_sample_value("slidekin_spans_total", {"result": "sent"}) == 3


def test_the_caller_decides_and_else_the_ratio():
    with running_collector() as collector:
        export = TraceExport(collector.grpc_endpoint, sampling_ratio=0.0, version="1")
        with exported_spans(export, Metrics(CollectorRegistry())) as start:
            for parent in (None, TraceContext(TRACE, SPAN, sampled=False)):
                span = start(METHOD, parent)
                assert span.context is not None
                assert not span.context.sampled
                assert parent is None or span.context.trace_id == TRACE
                span.child("encode", outgoing=False).end({})
                span.end({})
            wanted = start(METHOD, TraceContext(TRACE, SPAN, sampled=True))
            wanted.end({})
        assert [span.trace_id for span in collector.spans] == [TRACE]


def test_a_collector_that_is_gone_costs_spans_and_is_counted():
    registry = CollectorRegistry()
    export = TraceExport("http://127.0.0.1:1", sampling_ratio=1.0, version="1")
    with exported_spans(export, Metrics(registry)) as start:
        start(METHOD, None).end({})
    assert registry.get_sample_value("slidekin_spans_total", {"result": "lost"}) == 1


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path):
    export = TraceExport("https://127.0.0.1:1", 1.0, "1", ca_file=tmp_path / "none.pem")
    with (
        pytest.raises(TracingError, match=r"tracing.ca_file: .*none.pem"),
        exported_spans(export, Metrics(CollectorRegistry())),
    ):
        pass


_WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
from slidekin_server.cli import main
sys.argv = ["slidekin-server", *sys.argv[1:]]
main()
"""


def test_without_the_extra_the_service_names_it(tmp_path: Path):
    (tmp_path / "settings.yaml").write_text(
        "tracing: {endpoint: http://127.0.0.1:4317}\n"
        "listen: {port: 0}\nmetrics: {port: 0}\n"
        f"storage: {{path: {tmp_path / 'store'}}}\n"
    )
    command = [sys.executable, "-c", _WITHOUT, "serve", "--codes-only"]
    command += ["--config", str(tmp_path / "settings.yaml")]
    done = subprocess.run(
        command, capture_output=True, text=True, env=service_environment(), check=False, timeout=60
    )
    assert done.returncode == 1
    assert "OpenTelemetry is not installed: pip install 'slidekin[tracing]'" in done.stderr
    assert "Traceback" not in done.stderr
