"""Images in, ranked slides out, through a real Triton that comes and goes."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image
from tests.service_calls import Calls, Failure, random_codes
from tests.service_process import ServiceProcess
from tests.triton_stack import TritonState, build_demo_bundle, running_triton, why_no_triton

from slidekin.v1 import admin_pb2, common_pb2, search_pb2
from slidekin_server.bundle import load_bundle

JPEG, PNG, RGB = (
    common_pb2.IMAGE_FORMAT_JPEG,
    common_pb2.IMAGE_FORMAT_PNG,
    common_pb2.IMAGE_FORMAT_RGB,
)

# A patch takes a second or two on a CPU, and the first of a Triton more.
pytestmark = pytest.mark.timeout(600)


@dataclass
class Stack:
    """A service, and a Triton behind it that tests start and kill."""

    folder: Path
    bundle: Path
    service: ServiceProcess
    port: int
    calls: Calls
    _triton: TritonState | None = None
    _held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _starts: int = 0

    def with_triton(self) -> None:
        """Have Triton running and the service ready."""
        if self._triton is None:
            self._starts += 1
            run_dir = self.folder / f"triton-{self._starts}"
            self._triton = self._held.enter_context(
                running_triton(self.bundle, run_dir, f"--grpc-port={self.port}")
            )
        self.service.wait_ready()

    def kill_triton(self) -> None:
        """End Triton without warning."""
        assert self._triton is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._triton.triton_pid, signal.SIGKILL)

    def without_triton(self) -> None:
        """Have no Triton running."""
        if self._triton is not None:
            self.kill_triton()
            self._held.close()
            self._triton = None

    def status(self) -> admin_pb2.GetStatusResponse:
        return self.calls.admin.GetStatus(admin_pb2.GetStatusRequest())

    def health(self, service: str) -> int:
        request = health_pb2.HealthCheckRequest(service=service)
        return health_pb2_grpc.HealthStub(self.calls.channel).Check(request).status


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    reason = why_no_triton()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("images")
    bundle = build_demo_bundle(folder / "bundle")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    overrides = {
        "model": {"bundle": str(bundle), "allow_random_weights": True},
        "triton": {"url": f"127.0.0.1:{port}", "retry_interval_s": 0.2},
    }
    service = ServiceProcess(folder / "service", overrides, codes_only=False)
    service.start(ready=False)
    with service, service.channel() as channel:
        fingerprint = load_bundle(bundle, allow_random_weights=True).fingerprint
        calls = Calls(channel, fingerprint=fingerprint, timeout_s=300)
        running = Stack(folder, bundle, service, port, calls)
        # Index loaded, encoders away: the collection can be made all the same.
        while not running.status().index_loaded:
            pass
        created = calls.create(model_fingerprint="", texture_bits=0, hamming_threshold_bits=0)
        assert created.model_fingerprint == fingerprint
        try:
            yield running
        finally:
            running.without_triton()


def picture(seed: int, side_px: int = 1024) -> Image.Image:
    """Blobs of two colours, another pattern for each seed."""
    y, x = np.mgrid[:side_px, :side_px] * (1024 / side_px)
    wave = np.sin(x / (20 + 7 * seed)) + np.cos(y / (35 + 3 * seed) + seed)
    stain = np.stack([200 + 20 * wave, 120 + 40 * wave, 180 - 30 * wave], axis=-1)
    return Image.fromarray(stain.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, image_format: int = JPEG) -> common_pb2.Image:
    if image_format == RGB:
        return common_pb2.Image(
            format=RGB, data=image.tobytes(), width_px=image.width, height_px=image.height
        )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG" if image_format == JPEG else "PNG", quality=95)
    return common_pb2.Image(format=image_format, data=buffer.getvalue())


def patches(*images: common_pb2.Image) -> list[common_pb2.Patch]:
    return [
        common_pb2.Patch(x_px=1024 * number, y_px=512, image=image)
        for number, image in enumerate(images)
    ]


def refused(call: object, *arguments: object, **options: object) -> Failure:
    assert callable(call)
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return Failure.of(caught.value)


def test_without_triton_the_service_lives_and_answers_by_codes(stack: Stack) -> None:
    stack.without_triton()
    bits = stack.calls.get().texture_bits
    stack.service.wait_ready(serving=False)
    assert stack.health("") == health_pb2.HealthCheckResponse.SERVING
    codes = random_codes(1, texture_bits=bits)
    stack.calls.add("by-codes", codes)
    assert stack.calls.search(codes, k=1).slides == ["by-codes"]
    image = patches(encoded(picture(1, 256)))
    for call in (lambda: stack.calls.search(image), lambda: stack.calls.add("by-image", image)):
        failure = refused(call)
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert failure.info.reason == "ENCODER_UNAVAILABLE"
        assert failure.retry.retry_delay.ToMilliseconds() > 0
    assert "by-image" not in stack.calls.held()


def test_images_go_in_and_ranked_slides_come_out(stack: Stack) -> None:
    stack.with_triton()
    status = stack.status()
    assert status.encoder_state == admin_pb2.ENCODER_STATE_READY
    assert status.model.random_weights
    assert {network.role for network in status.model.networks} == {"vqvae", "texture"}
    for slide in (1, 2):
        images = [encoded(picture(10 * slide + number), PNG) for number in range(2)]
        added = stack.calls.add(f"images-{slide}", patches(*images))
        assert added.slide.patch_count == 2
    query = patches(encoded(picture(20), RGB), encoded(picture(21), PNG))
    found = stack.calls.search(query, k=2)
    assert found.slides[0] == "images-2"
    assert found.ranked.slides[0].hamming_distance_bits <= 13  # the canary's tolerance
    assert found.ranked.random_weights
    assert found.ranked.timings.encode.ToMilliseconds() > 0
    assert found.ranked.slides[0].evidence[0].hit.y_px == 512
    request = search_pb2.SearchPatchesRequest(parent=stack.calls.parent, patches=query[:1])
    answer = stack.calls.searches.SearchPatches(request)
    assert answer.random_weights
    assert answer.patch_hits[0].hits[0].slide == stack.calls.name("images-2")


def _png_header(side_px: int) -> bytes:
    """The beginning of a PNG file of any size, and nothing of its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "image",
    [
        common_pb2.Image(format=JPEG, data=b"this is no image"),
        common_pb2.Image(format=JPEG, data=encoded(picture(1, 256)).data[:3000]),
        encoded(picture(1, 1), PNG),
        common_pb2.Image(format=PNG, data=_png_header(30_000)),
        common_pb2.Image(format=PNG, data=encoded(picture(1, 256), JPEG).data),
        encoded(picture(1, 256).crop((0, 0, 256, 128)), PNG),
        common_pb2.Image(format=RGB, data=bytes(300), width_px=10, height_px=10),
        common_pb2.Image(format=RGB, data=bytes(300), width_px=1024, height_px=1024),
    ],
    ids=["text", "truncated", "1px", "30000px", "another-format", "oblong", "small-raw", "cut-raw"],
)
def test_an_image_that_is_no_patch_is_named_and_nothing_is_stored(
    stack: Stack, image: common_pb2.Image
) -> None:
    stack.with_triton()
    failure = refused(stack.calls.add, "bad", patches(encoded(picture(3, 256)), image))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.info.reason == "IMAGE_REFUSED"
    assert failure.fields == ["patches[1].image"]
    assert "bad" not in stack.calls.held()


def test_images_for_a_collection_of_another_model_are_refused_naming_both(stack: Stack) -> None:
    other = Calls(stack.calls.channel, "other-model", fingerprint="another")
    other.create()
    failure = refused(other.add, "a", patches(encoded(picture(1, 256))))
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert failure.info.reason == "MODEL_NOT_SERVED"
    assert "another" in failure.message
    assert stack.calls.fingerprint in failure.message


def test_a_killed_triton_is_told_and_its_return_noticed(stack: Stack) -> None:
    stack.with_triton()
    image = patches(encoded(picture(20), PNG))
    begun = iter(stack.calls.questions(image * 6))

    def questions() -> Iterator[search_pb2.SearchSlideRequest]:
        yield next(begun)
        yield next(begun)
        stack.kill_triton()
        yield from begun

    failure = refused(stack.calls.search_stream, questions())
    stack.without_triton()
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert failure.retry.retry_delay.ToMilliseconds() > 0
    stack.service.wait_ready(serving=False)
    assert stack.status().encoder_state == admin_pb2.ENCODER_STATE_UNAVAILABLE
    assert stack.status().encoder_message
    stack.with_triton()
    assert stack.calls.search(image, k=1).ranked.query_patch_count == 1
