"""A call is one trace: the SDK's span, the service's below it, its stages, and on to Triton."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import set_tracer_provider
from PIL import Image
from tests.integration.client.encoder import quick_encoder
from tests.otlp_collector import CollectedSpan, Collector, running_collector
from tests.service_process import ServiceProcess
from tests.unit.server.made_bundles import write_bundle

from slidekin import AsyncClient, Client, ImagePatch, NotFoundError, Slide

SLIDE = "collections/c/slides/s"
ADD, SEARCH = "slidekin.v1.SlideService/AddSlide", "slidekin.v1.SearchService/SearchSlide"
MISSING = "slidekin.v1.SlideService/GetSlide"


@pytest.fixture(scope="module")
def traceparents() -> list[str]:
    return []


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def provider(collector: Collector) -> Iterator[TracerProvider]:
    """What a program that uses the SDK sets up."""
    provider = TracerProvider(resource=Resource.create({"service.name": "program"}))
    exporter = OTLPSpanExporter(collector.grpc_endpoint)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()


@pytest.fixture(scope="module")
def service(
    collector: Collector, traceparents: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """A service that traces only what its callers trace."""
    folder = tmp_path_factory.mktemp("traced")
    with quick_encoder(traceparents=traceparents) as url:
        overrides = {
            "model": {"bundle": str(write_bundle(folder / "bundle"))},
            "triton": {"url": url, "timeout_s": 10.0},
            "tracing": {"endpoint": collector.grpc_endpoint, "sampling_ratio": 0.0},
        }
        with ServiceProcess(folder / "run", overrides, codes_only=False) as running:
            yield running


def patches(*colours: str) -> list[ImagePatch]:
    found = []
    for number, colour in enumerate(colours):
        file = io.BytesIO()
        Image.new("RGB", (1024, 1024), colour).save(file, "PNG")
        found.append(ImagePatch(1024 * number, 0, file.getvalue(), "png"))
    return found


def ended(collector: Collector, *methods: str) -> dict[str, list[CollectedSpan]]:
    """The traces of these methods, once SDK and service have told of them."""
    wanted = {(program, method) for method in methods for program in ("program", "slidekin-server")}

    def complete(spans: list[CollectedSpan]) -> bool:
        return wanted <= {(span.program, span.name) for span in spans}

    spans = collector.until(complete)
    traces = {span.name: span.trace_id for span in spans if span.program == "program"}
    return {name: [s for s in spans if s.trace_id == traces[name]] for name in methods}


def below(spans: list[CollectedSpan], parent: CollectedSpan) -> list[CollectedSpan]:
    return [span for span in spans if span.parent_id == parent.span_id]


def check(collector: Collector, traceparents: list[str]) -> None:
    traces = ended(collector, ADD, SEARCH, MISSING)
    stages = {ADD: ["encode", "encode", "store"], SEARCH: ["encode", "rank", "search"]}
    for method, wanted in stages.items():
        spans = traces[method]
        (root,) = (span for span in spans if not span.parent_id)
        assert (root.program, root.name, root.kind) == ("program", method, "CLIENT")
        (call,) = below(spans, root)
        assert (call.program, call.name, call.kind) == ("slidekin-server", method, "SERVER")
        assert call.attributes["slidekin.code"] == "OK"
        assert sorted(span.name for span in below(spans, call)) == wanted
        for encode in (span for span in spans if span.name == "encode"):
            (infer,) = below(spans, encode)
            assert (infer.name, infer.kind) == ("infer", "CLIENT")
            assert f"00-{root.trace_id}-{infer.span_id}-01" in traceparents
    assert traces[SEARCH]
    for span in traces[MISSING]:
        assert span.failure == "NOT_FOUND"
    told = str(collector.spans)
    assert SLIDE not in told
    assert "patient-one" not in told


def test_a_call_is_one_trace(
    service: ServiceProcess,
    collector: Collector,
    provider: TracerProvider,
    traceparents: list[str],
):
    with Client(service.url, tracer_provider=provider) as client:
        client.create_collection("c")
        slide = Slide(SLIDE, patient_id="patient-one")
        client.add_slide_images(slide, patches("red", "blue"))
        client.search_images(patches("red"), collection="c")
        with pytest.raises(NotFoundError):
            client.get_slide("collections/c/slides/none")
    check(collector, traceparents)
    line = next(
        json.loads(line)
        for line in service.log.read_text().splitlines()
        if '"/slidekin.v1.SlideService/AddSlide"' in line
    )
    assert line["trace_id"] == ended(collector, ADD)[ADD][0].trace_id


def test_so_it_is_from_an_event_loop_and_by_what_the_program_has_set_up(
    service: ServiceProcess,
    collector: Collector,
    provider: TracerProvider,
    traceparents: list[str],
    monkeypatch: pytest.MonkeyPatch,
):
    import opentelemetry.trace  # noqa: PLC0415

    set_tracer_provider(provider)
    collector.spans.clear()

    async def run() -> None:
        async with AsyncClient(service.url) as client:
            await client.create_collection("c")
            slide = Slide(SLIDE, patient_id="patient-one")
            await client.add_slide_images(slide, patches("red", "blue"), replace=True)
            await client.search_images(patches("red"), collection="c")
            with pytest.raises(NotFoundError):
                await client.get_slide("collections/c/slides/none")

    try:
        asyncio.run(run())
        check(collector, traceparents)
    finally:
        # A program states its provider once; these tests are several.
        monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", None)


def test_a_program_that_makes_no_traces_makes_calls_all_the_same(service: ServiceProcess):
    with Client(service.url) as client:
        assert client.status().index_loaded


def test_nor_does_one_without_opentelemetry(
    service: ServiceProcess, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry", None)
    with Client(service.url) as client:
        assert client.status().index_loaded


def test_a_collector_that_is_gone_disturbs_no_call_and_no_stop(tmp_path: Path):
    overrides = {"tracing": {"endpoint": "http://127.0.0.1:1", "sampling_ratio": 1.0}}
    with ServiceProcess(tmp_path, overrides) as service:
        with Client(service.url) as client:
            for _ in range(20):
                client.status()
        assert service.stop() == 0
    assert "Traceback" not in service.log.read_text()
