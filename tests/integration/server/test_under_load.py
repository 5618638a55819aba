"""Callers who compete for the encoders, and what is done for those who stopped waiting."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import grpc
import pytest
from tests.service_calls import Calls
from tests.service_process import ServiceProcess, eventually
from tests.unit.server.made_bundles import BITS, bundle_content, picture, write_bundle
from tests.unit.server.triton_double import TritonDouble

from slidekin.v1 import common_pb2, search_pb2

IN_FLIGHT = 2


class Triton:
    """A stand-in for Triton in a thread of its own, which answers at once or when told."""

    def __init__(self) -> None:
        self.double = TritonDouble()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self.double.start())
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        self._run(self.double.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def hold(self) -> None:
        """Answer nothing."""
        self._loop.call_soon_threadsafe(self.double.free.clear)

    def let_go(self) -> None:
        """Answer."""
        self._loop.call_soon_threadsafe(self.double.free.set)

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    @property
    def order(self) -> list[bytes]:
        """The images that came, but the canary."""
        canary = picture()
        images = [request.raw_input_contents[0][4:] for request in self.double.requests]
        return [image for image in images if image != canary]


@pytest.fixture(scope="module")
def triton() -> Iterator[Triton]:
    with Triton() as triton:
        yield triton


@pytest.fixture(scope="module")
def service(triton: Triton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder: Path = tmp_path_factory.mktemp("service")
    overrides = {
        "model": {"bundle": str(write_bundle(folder / "bundle"))},
        "triton": {"url": triton.double.url, "max_in_flight": IN_FLIGHT, "timeout_s": 30.0},
        "admission": {"bulk_every": 4, "max_patches_in_flight_per_stream": 16},
    }
    with ServiceProcess(folder / "run", overrides, codes_only=False) as running:
        yield running


@pytest.fixture
def calls(service: ServiceProcess) -> Iterator[Calls]:
    with service.channel() as channel:
        calls = Calls(channel, f"own-{time.monotonic_ns()}")
        calls.create(
            model_fingerprint=bundle_content()["fingerprint"],
            texture_bits=BITS,
            hamming_threshold_bits=180,
        )
        yield calls


def pictures(kind: str, number: int) -> list[common_pb2.Patch]:
    seeds = {"ingest": 1000, "search": 5000, "other": 9000}
    return [
        common_pb2.Patch(
            image=common_pb2.Image(
                format=common_pb2.IMAGE_FORMAT_JPEG,
                data=picture(64, 64, "JPEG", seed=seeds[kind] + one),
            )
        )
        for one in range(number)
    ]


def waiting(service: ServiceProcess, urgency: str) -> float:
    labels = f'stage="encoder",urgency="{urgency}"'
    return service.metric(f"slidekin_turns_waiting{{{labels}}}")


def nothing_is_left(service: ServiceProcess) -> bool:
    return not any(
        service.metric(name)
        for name in (
            "slidekin_encoder_in_flight",
            'slidekin_turns_waiting{stage="encoder",urgency="interactive"}',
            'slidekin_turns_waiting{stage="search",urgency="interactive"}',
            'slidekin_patches_in_flight{urgency="interactive"}',
            'slidekin_images_in_flight_bytes{urgency="interactive"}',
            'slidekin_calls_admitted{kind="stream"}',
            'slidekin_calls_admitted{kind="unary"}',
        )
    )


def test_a_search_goes_before_the_ingest_that_waits_and_ingest_does_not_starve(
    service: ServiceProcess, triton: Triton, calls: Calls
) -> None:
    ingest, search = pictures("ingest", 12), pictures("search", 6)
    before = len(triton.order)
    triton.hold()
    with ThreadPoolExecutor(2) as threads:
        added = threads.submit(calls.add, "slide", ingest, fingerprint="")
        eventually(lambda: waiting(service, "bulk") == 12 - IN_FLIGHT)
        found = threads.submit(calls.search, search, fingerprint="")
        eventually(lambda: waiting(service, "interactive") == 6)
        triton.let_go()
        assert added.result().slide.patch_count == 12
        assert len(found.result().bags) == 6
    images = {patch.image.data for patch in search}
    order = ["search" if image in images else "ingest" for image in triton.order[before:]]
    # What was at Triton already ends; then three of four turns are the search's.
    assert order[:IN_FLIGHT] == ["ingest"] * IN_FLIGHT
    # Turns are had in order; on their way to Triton those that are in flight may change places.
    assert order[IN_FLIGHT : IN_FLIGHT + 8 + IN_FLIGHT].count("search") == 6
    assert sorted(order[IN_FLIGHT:]) == ["ingest"] * 10 + ["search"] * 6
    assert nothing_is_left(service)


def test_after_a_cancelled_search_nothing_more_is_sent_and_nothing_is_left(
    service: ServiceProcess, triton: Triton, calls: Calls
) -> None:
    before = len(triton.order)
    triton.hold()
    call = calls.searches.SearchSlide(
        calls.questions(pictures("search", 10), fingerprint=""), timeout=60
    )
    eventually(lambda: waiting(service, "interactive") == 10 - IN_FLIGHT)
    call.cancel()
    # Those at Triton go on to their end; the others leave the line at once.
    eventually(lambda: waiting(service, "interactive") == 0)
    assert service.metric("slidekin_encoder_in_flight") == IN_FLIGHT
    triton.let_go()
    eventually(lambda: nothing_is_left(service))
    calls.search(pictures("other", 2), fingerprint="")
    assert len(triton.order) - before == IN_FLIGHT + 2


def test_past_its_deadline_a_search_sends_nothing_more(
    service: ServiceProcess, triton: Triton, calls: Calls
) -> None:
    before = len(triton.order)
    triton.hold()
    search = calls.searches.SearchSlide(
        calls.questions(pictures("search", 10), fingerprint=""), timeout=2.0
    )
    with pytest.raises(grpc.RpcError) as caught:
        list(search)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    eventually(lambda: waiting(service, "interactive") == 0)
    triton.let_go()
    eventually(lambda: nothing_is_left(service))
    assert len(triton.order) - before == IN_FLIGHT


def test_the_time_that_is_left_travels_to_triton(
    service: ServiceProcess, triton: Triton, calls: Calls
) -> None:
    request = search_pb2.SearchPatchesRequest(
        parent=calls.parent, patches=pictures("other", 1), model_fingerprint=""
    )
    calls.searches.SearchPatches(request, timeout=20)
    left_us = triton.double.requests[-1].parameters["timeout"].int64_param
    assert 0 < left_us < 21_000_000  # gRPC rounds deadlines up


def test_a_slow_reader_holds_up_itself_alone(
    service: ServiceProcess, triton: Triton, calls: Calls
) -> None:
    patches = pictures("search", 4)
    calls.add("slide", patches, fingerprint="")
    stuck = [
        calls.searches.SearchSlide(calls.questions(patches, fingerprint=""), timeout=60)
        for _ in range(6)
    ]  # nobody reads
    with contextlib.ExitStack() as stack:
        for call in stuck:
            stack.callback(call.cancel)
        assert calls.search(pictures("other", 4), fingerprint="").bags.keys() == {0, 1, 2, 3}
        eventually(lambda: service.metric('slidekin_patches_in_flight{urgency="interactive"}') == 0)
    eventually(lambda: nothing_is_left(service))
