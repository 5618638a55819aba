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
                for traced in (False, True):
                    with Client(
                        service.url, tracer_provider=provider if traced else None
                    ) as client:
                        name = f"traced-{traced}".lower()
                        client.create_collection(name)
                        slide = Slide(f"collections/{name}/slides/s")
                        client.add_slide_images(slide, [ImagePatch(0, 0, patch, "png")])
                spans = collector.until(finished)
        provider.shutdown()
    by_id = {span.span_id: span for span in spans}
    # Neither the canary nor the untraced slide: the service traces the traced one alone.
    # Triton was seen to begin a trace of its own beside it; why is not known.
    (infer,) = (span for span in spans if span.name == "infer")
    triton_spans = [
        span for span in spans if (span.program, span.trace_id) == ("triton", infer.trace_id)
    ]
    (request,) = (span for span in triton_spans if span.parent_id == infer.span_id)
    assert request.name == "InferRequest"
    road = [request]
    while road[-1].parent_id:
        road.append(by_id[road[-1].parent_id])
    assert [(span.program, span.name) for span in road[1:]] == [
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


def finished(spans: list[CollectedSpan]) -> bool:
    """Triton tells of a request's spans one by one, that of the request last."""
    traced = {span.trace_id for span in spans if span.name == "infer"}
    names = {span.name for span in spans if span.trace_id in traced}
    return {"InferRequest", "infer", "store"} <= names
