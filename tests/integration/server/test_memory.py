"""Memory with many streams of images before encoders that stand still.

What may be held: the images in flight, one message of each stream, and a few copies of what is at
Triton. All the rest waits at its sender.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
import pytest
from tests.integration.server.test_under_load import Triton
from tests.service_calls import Calls
from tests.service_process import ServiceProcess, eventually
from tests.unit.server.made_bundles import BITS, bundle_content, picture, write_bundle

from slidekin.v1 import common_pb2, slides_pb2

MIB = 1024 * 1024
STREAMS = 24
IN_FLIGHT_MIB = 64
AT_TRITON = 2
COPIES_AT_TRITON = 5
"""Of one image beside that which is counted, as measured: laid out, in a message, as bytes."""
UNDER_HAND = 12
"""Images in a message that is taken apart, or answered and not yet let go."""
OTHER_MIB = 48
"""Threads, tasks and what is small."""


@pytest.fixture
def triton() -> Iterator[Triton]:
    with Triton() as triton:
        triton.double.requests = deque(maxlen=0)
        yield triton


@pytest.fixture
def service(triton: Triton, tmp_path: Path) -> Iterator[ServiceProcess]:
    bound = IN_FLIGHT_MIB * MIB
    overrides = {
        "model": {"bundle": str(write_bundle(tmp_path / "bundle"))},
        "triton": {"url": triton.double.url, "max_in_flight": AT_TRITON, "timeout_s": 300.0},
        "admission": {
            "max_image_bytes_in_flight": bound,
            "max_image_bytes_in_flight_each": bound,
            "idle_timeout_s": 300.0,
        },
    }
    # What is freed goes back at once: else what is kept for later hides what is held.
    environment = {"MALLOC_MMAP_THRESHOLD_": str(128 * 1024)}
    with ServiceProcess(
        tmp_path / "run", overrides, codes_only=False, environment=environment
    ) as running:
        yield running


def patch(size: int) -> common_pb2.Patch:
    """An image file as large as a test wants it: what follows its end means nothing."""
    data = picture(64, 64, "JPEG").ljust(size, b"\0")
    return common_pb2.Patch(image=common_pb2.Image(format=common_pb2.IMAGE_FORMAT_JPEG, data=data))


@dataclass
class Sender:
    """Adds slides of one image over and over, one in a message, and counts what is fetched."""

    calls: Calls
    patch: common_pb2.Patch
    each: int
    offered: int = 0

    def messages(self, slide: str) -> Iterator[slides_pb2.AddSlideRequest]:
        header = slides_pb2.AddSlideHeader(slide=slides_pb2.Slide(name=self.calls.name(slide)))
        yield slides_pb2.AddSlideRequest(header=header)
        message = slides_pb2.AddSlideRequest(patches=common_pb2.PatchBatch(patches=[self.patch]))
        for _ in range(self.each):
            self.offered += 1
            yield message
        end = slides_pb2.AddSlideEnd(patch_count=self.each)
        yield slides_pb2.AddSlideRequest(end=end)


class Peak:
    """The greatest resident memory of a process, looked at all the time."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._before = self._greatest = self._process.memory_info().rss

    @property
    def growth_mib(self) -> float:
        return (self._greatest - self._before) / MIB

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self._greatest = max(self._greatest, self._process.memory_info().rss)


@pytest.mark.parametrize(
    ("image_mib", "each"), [(1, 43), (8, 5)], ids=["a gigabyte", "the largest images"]
)
def test_what_the_encoders_have_no_time_for_waits_at_its_sender(
    service: ServiceProcess, triton: Triton, image_mib: int, each: int
) -> None:
    assert service.process is not None
    size = image_mib * MIB - 1024
    with contextlib.ExitStack() as stack:
        calls = Calls(stack.enter_context(service.channel()))
        calls.create(
            model_fingerprint=bundle_content()["fingerprint"],
            texture_bits=BITS,
            hamming_threshold_bits=180,
        )
        calls.add("first", [patch(size)], fingerprint="")
        sender = Sender(calls, patch(size), each)
        peak = stack.enter_context(Peak(service.process.pid))
        triton.hold()
        adding = [
            calls.slides.AddSlide.future(sender.messages(f"slide-{number}"))
            for number in range(STREAMS)
        ]
        for call in adding:
            stack.callback(call.cancel)
        held = 'slidekin_images_in_flight_bytes{urgency="bulk"}'
        eventually(lambda: service.metric(held) > (IN_FLIGHT_MIB - image_mib) * MIB)
        assert service.metric(held) <= IN_FLIGHT_MIB * MIB
        eventually(lambda: nothing_more_is_taken(sender))
        # A message of each stream has come, and one waits in its client.
        assert sender.offered <= IN_FLIGHT_MIB / image_mib + 2 * STREAMS + 1
        triton.let_go()
        assert {call.result().slide.patch_count for call in adding} == {each}
    print(f"RSS grew by {peak.growth_mib:.0f} MiB at most")
    images = STREAMS + AT_TRITON * COPIES_AT_TRITON + UNDER_HAND
    allowed = IN_FLIGHT_MIB + images * image_mib + OTHER_MIB
    assert peak.growth_mib < allowed


def nothing_more_is_taken(sender: Sender) -> bool:
    offered = sender.offered
    return not any(threading.Event().wait(0.1) or sender.offered != offered for _ in range(10))
