"""What was acknowledged stays; what was not leaves no trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from tests.paths import PROJECT
from tests.service_calls import Calls, Failure, near_codes, random_codes
from tests.service_process import ServiceProcess

from slidekin.v1 import slides_pb2


def test_a_restart_finds_everything_again(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path)
    codes = random_codes(1)
    with service, service.channel() as channel:
        calls = Calls(channel)
        calls.create(display_name="kept")
        for number in range(6):
            calls.add(
                f"s{number}",
                near_codes(codes, number),
                label="AB"[number % 2],
                patient_id=f"p{number}",
                attributes={"n": str(number)},
            )
        calls.slides.DeleteSlide(slides_pb2.DeleteSlideRequest(name=calls.name("s2")))
        calls.add("s3", near_codes(codes, 33), label="C", replace=True)
        held = calls.slides.ListSlides(slides_pb2.ListSlidesRequest(parent=calls.parent))
        found = calls.search(codes, k=5, include_ranking_details=True).ranked
        collection = calls.get()
        assert service.stop() == 0
    with service, service.channel() as channel:
        calls = Calls(channel)
        again = calls.get()
        again.index_version = collection.index_version
        assert again == collection
        assert calls.slides.ListSlides(slides_pb2.ListSlidesRequest(parent=calls.parent)) == held
        ranked = calls.search(codes, k=5, include_ranking_details=True).ranked
        assert ranked.slides == found.slides
        assert ranked.details == found.details


def test_sigkill_after_an_acknowledged_slide_loses_nothing(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path)
    acknowledged: list[str] = []
    with service:
        for kill in range(3):
            with service.channel() as channel:
                calls = Calls(channel)
                if not kill:
                    calls.create()
                for number in range(4):
                    slide = f"k{kill}-{number}"
                    calls.add(slide, random_codes(10 * kill + number))
                    acknowledged.append(slide)
                service.kill()
            service.start()
            with service.channel() as channel:
                calls = Calls(channel)
                assert calls.held() == acknowledged
                found = calls.search(random_codes(10 * kill + 3), k=1)
                assert found.slides == [acknowledged[-1]]
                assert found.ranked.slides[0].hamming_distance_bits == 0


def test_sigkill_amid_a_stream_stores_nothing_of_it(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path)
    codes = random_codes(1, 40)
    with service:
        with service.channel() as channel:
            calls = Calls(channel)
            calls.create()
            calls.add("whole", codes)
            half_sent, release = threading.Event(), threading.Event()

            def half() -> Iterator[slides_pb2.AddSlideRequest]:
                messages = list(calls.additions("half", codes))
                yield from messages[:4]
                half_sent.set()
                release.wait(60)

            adding = calls.slides.AddSlide.future(half())
            assert half_sent.wait(30)
            service.kill()
            assert adding.exception(timeout=60).code() is grpc.StatusCode.UNAVAILABLE
            release.set()
        service.start()
        with service.channel() as channel:
            assert Calls(channel).held() == ["whole"]


def test_a_cancelled_stream_stores_nothing(calls: Calls) -> None:
    codes = random_codes(1, 40)
    for sent in (1, 3, 6):
        half_sent, release = threading.Event(), threading.Event()

        def half(
            sent: int = sent,
            half_sent: threading.Event = half_sent,
            release: threading.Event = release,
        ) -> Iterator[slides_pb2.AddSlideRequest]:
            yield from list(calls.additions("half", codes))[:sent]
            half_sent.set()
            release.wait(60)

        adding = calls.slides.AddSlide.future(half())
        assert half_sent.wait(30)
        adding.cancel()
        release.set()
        # A call behind it in the same place: whatever became of the stream has happened.
        assert not calls.add(f"after-{sent}", random_codes(sent)).already_present
    assert calls.held() == ["after-1", "after-3", "after-6"]


_DYING_CLIENT = """
import os, sys, threading
import grpc
from tests.service_calls import Calls, random_codes
calls = Calls(grpc.insecure_channel(sys.argv[1]), sys.argv[2])
def half():
    yield from list(calls.additions("half", random_codes(1, 40)))[:4]
    print("half", flush=True)
    threading.Event().wait()
calls.slides.AddSlide(half())
"""


def test_a_client_that_dies_amid_a_stream_leaves_nothing(
    service: ServiceProcess, calls: Calls
) -> None:
    paths = os.pathsep.join(str(PROJECT / part) for part in ("client", "server", ""))
    for attempt in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", _DYING_CLIENT, service.url, calls.collection],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
        ) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == b"half\n"
            client.send_signal(signal.SIGKILL)
        calls.add(f"after-{attempt}", random_codes(50 + attempt))
    assert calls.held() == ["after-0", "after-1", "after-2"]


def test_a_deadline_amid_a_stream_stores_nothing(calls: Calls) -> None:
    release = threading.Event()

    def half() -> Iterator[slides_pb2.AddSlideRequest]:
        yield from list(calls.additions("half", random_codes(1, 40)))[:4]
        release.wait(60)

    with pytest.raises(grpc.RpcError) as caught:
        calls.slides.AddSlide(half(), timeout=0.5)
    release.set()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    calls.add("after", random_codes(2))
    assert calls.held() == ["after"]


def _without_end(calls: Calls) -> Iterator[slides_pb2.AddSlideRequest]:
    return iter(list(calls.additions("a", random_codes(1, 7)))[:-1])


def _with_fewer_than_announced(calls: Calls) -> Iterator[slides_pb2.AddSlideRequest]:
    return calls.additions("a", random_codes(1, 7), announced=8)


@pytest.mark.parametrize("messages", [_without_end, _with_fewer_than_announced])
def test_a_stream_that_breaks_off_before_its_end_stores_nothing(
    calls: Calls, messages: Callable[[Calls], Iterator[slides_pb2.AddSlideRequest]]
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        calls.slides.AddSlide(messages(calls), timeout=60)
    failure = Failure.of(caught.value)
    assert failure.code is grpc.StatusCode.DATA_LOSS
    assert failure.info.reason == "INCOMPLETE_STREAM"
    assert calls.name("a") in failure.message
    assert calls.held() == []
    assert calls.add("a", random_codes(1, 7)).slide.patch_count == 7
