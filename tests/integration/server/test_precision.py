"""The published profile takes images only where the networks are served in fp32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tests.integration.client.encoder import quick_encoder
from tests.service_calls import Calls, Failure, random_codes
from tests.service_process import ServiceProcess
from tests.unit.server.made_bundles import BITS, bundle_content, picture, write_bundle

from slidekin.v1 import admin_pb2, common_pb2, slides_pb2

IMAGE = common_pb2.Image(format=common_pb2.IMAGE_FORMAT_PNG, data=picture(seed=3))
PATCHES = [common_pb2.Patch(x_px=0, y_px=0, image=IMAGE)]


@pytest.fixture(params=["fp32", "bf16"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Calls]]:
    """A precision, and a service whose Triton says to serve it."""
    bundle = write_bundle(tmp_path / "bundle")
    with quick_encoder(request.param) as url:
        overrides = {
            "model": {"bundle": str(bundle)},
            "triton": {"url": url, "retry_interval_s": 0.2},
        }
        service = ServiceProcess(tmp_path / "service", overrides, codes_only=False)
        service.start()
        with service, service.channel() as channel:
            calls = Calls(channel, fingerprint=bundle_content()["fingerprint"], timeout_s=60)
            calls.create(model_fingerprint="", texture_bits=0, hamming_threshold_bits=0)
            calls.add("held", PATCHES)
            yield request.param, calls


def add_for(calls: Calls, profile: str) -> None:
    header = slides_pb2.AddSlideHeader(
        slide=slides_pb2.Slide(name=f"{calls.parent}/slides/another"), profile=profile
    )
    calls.slides.AddSlide(
        iter(
            [
                slides_pb2.AddSlideRequest(header=header),
                slides_pb2.AddSlideRequest(patches=common_pb2.PatchBatch(patches=PATCHES)),
                slides_pb2.AddSlideRequest(end=slides_pb2.AddSlideEnd(patch_count=1)),
            ]
        ),
        timeout=60,
    )


def test_the_published_profile_takes_images_in_fp32_alone(served: tuple[str, Calls]) -> None:
    precision, calls = served
    status = calls.admin.GetStatus(admin_pb2.GetStatusRequest())
    assert [network.precision for network in status.model.networks] == [precision, precision]
    assert calls.search(PATCHES, k=1).slides == ["held"]
    codes = random_codes(1, texture_bits=BITS)
    calls.search(codes, k=1, profile="sish-2022")
    if precision == "fp32":
        calls.search(PATCHES, k=1, profile="sish-2022")
        add_for(calls, "sish-2022")
        assert "another" in calls.held()
        return
    for call in (
        lambda: calls.search(PATCHES, k=1, profile="sish-2022"),
        lambda: add_for(calls, "sish-2022"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        failure = Failure.of(caught.value)
        assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
        assert failure.info.reason == "INEXACT_PRECISION"
        assert "vqvae in bf16 and texture in bf16" in failure.message
        assert "--precision fp32" in failure.message
    assert "another" not in calls.held()
    add_for(calls, "default")
    with pytest.raises(grpc.RpcError) as caught:
        add_for(calls, "sish-2023")
    assert Failure.of(caught.value).fields == ["header.profile"]
