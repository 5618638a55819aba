"""The real Triton goes on with a trace: the networks come to lie below the service."""

from __future__ import annotations

from pathlib import Path

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from tests.otlp_collector import CollectedSpan, running_collector
from tests.service_process import ServiceProcess
from tests.triton_stack import running_triton

from slidekin import Client, ImagePatch, Slide
from slidekin_server.bundle import load_bundle

# Over gRPC Triton 2.51 overlooks the traceparent of about one request in eight, of several in a row
# just after its start: as many are sent as it takes, and these at most.
MOST = 20


def test_a_patch_is_followed_from_the_sdk_into_the_networks(demo_bundle: Path, tmp_path: Path):
    patch = load_bundle(demo_bundle, allow_random_weights=True).canary.image.read_bytes()
    with running_collector() as collector:
        provider = TracerProvider(resource=Resource.create({"service.name": "program"}))
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(collector.grpc_endpoint)))
        option = f"--trace-url={collector.http_endpoint}"
        with running_triton(demo_bundle, tmp_path / "triton", option) as triton:
            overrides = {
                "model": {"bundle": str(demo_bundle), "allow_random_weights": True},
                "triton": {"url": triton.grpc_url},
                "tracing": {"endpoint": collector.grpc_endpoint, "sampling_ratio": 0.0},
            }
            service = ServiceProcess(tmp_path / "service", overrides, codes_only=False)
            with service:
                with Client(service.url) as client:
                    client.create_collection("untraced")
                    client.add_slide_images(
                        Slide("collections/untraced/slides/s"), [ImagePatch(0, 0, patch, "png")]
                    )
                sent = 0
                with Client(service.url, tracer_provider=provider) as client:
                    client.create_collection("traced")
                    while sent < MOST and not requests(collector.spans):
                        slide = Slide(f"collections/traced/slides/{sent}")
                        client.add_slide_images(slide, [ImagePatch(0, 0, patch, "png")])
                        sent += 1
                spans = collector.until(lambda spans: finished(spans, sent))
        provider.shutdown()
    inferred = {span.trace_id for span in spans if span.name == "infer"}
    assert len(inferred) == sent
    triton_spans = [span for span in spans if span.program == "triton"]
    # Neither the canary nor the untraced slide.
    assert {span.trace_id for span in triton_spans} <= inferred
    found = requests(spans)
    assert len({request.parent_id for request in found}) == len(found)
    for request in found:
        assert [(span.program, span.name) for span in road(request, spans)] == [
            ("triton", "InferRequest"),
            ("slidekin-server", "infer"),
            ("slidekin-server", "encode"),
            ("slidekin-server", "slidekin.v1.SlideService/AddSlide"),
            ("program", "slidekin.v1.SlideService/AddSlide"),
        ]
    models = {span.attributes.get("triton.model_name") for span in triton_spans} - {None}
    short = triton.fingerprint[:12]
    assert models == {
        f"patch_encoder-{short}", "image_decoder", f"vqvae-{short}", f"texture-{short}",
    }  # fmt: skip


def finished(spans: list[CollectedSpan], sent: int) -> bool:
    """Each program tells of its own spans, in no agreed order: the whole road has to be there."""
    names = {span.name.partition("-")[0] for span in spans if span.program == "triton"}
    expected = {"InferRequest", "patch_encoder", "image_decoder", "vqvae", "texture"}
    whole = [not road(request, spans)[-1].parent_id for request in requests(spans)]
    inferred = [span for span in spans if span.name == "infer"]
    return expected <= names and all(whole) and len(inferred) == sent


def requests(spans: list[CollectedSpan]) -> list[CollectedSpan]:
    return [span for span in spans if span.name == "InferRequest"]


def road(span: CollectedSpan, spans: list[CollectedSpan]) -> list[CollectedSpan]:
    """A span and those above it, as far as they have arrived."""
    by_id = {span.span_id: span for span in spans}
    found = [span]
    while found[-1].parent_id in by_id:
        found.append(by_id[found[-1].parent_id])
    return found
