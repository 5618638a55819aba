"""A service that is told to stop: what it takes, what it ends, what is left behind."""

from __future__ import annotations

import contextlib
import queue
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.service_calls import Calls, Failure, random_codes
from tests.service_process import ServiceProcess, eventually

from slidekin.v1 import slides_pb2


class OpenIngest:
    """A slide on its way, message by message as a test says."""

    def __init__(self, calls: Calls, slide: str):
        self._messages = list(calls.additions(slide, random_codes(1)))
        self._out: queue.SimpleQueue = queue.SimpleQueue()
        self.send(1)
        self.call = calls.slides.AddSlide.future(iter(self._out.get, None), timeout=60)

    def send(self, messages: int) -> None:
        for message in self._messages[:messages]:
            self._out.put(message)
        del self._messages[:messages]

    def finish(self) -> None:
        self.send(len(self._messages))
        self._out.put(None)


def tell(service: ServiceProcess) -> None:
    assert service.process is not None
    service.process.send_signal(signal.SIGTERM)


def health(channel: grpc.Channel) -> Iterator[int]:
    request = health_pb2.HealthCheckRequest(service="slidekin.v1.SlideService")
    call = health_pb2_grpc.HealthStub(channel).Watch(request, timeout=60)
    try:
        for answer in call:
            yield answer.status
    finally:
        call.cancel()


def test_it_says_so_goes_on_for_the_notice_then_refuses_and_lets_calls_end(tmp_path: Path) -> None:
    settings = {"shutdown_notice_s": 3.0, "shutdown_grace_s": 30.0}
    with ServiceProcess(tmp_path, settings) as service, service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        ingest = OpenIngest(calls, "open")
        eventually(lambda: service.metric('slidekin_calls_admitted{kind="stream"}') == 1)
        watch = health(channel)
        assert next(watch) == health_pb2.HealthCheckResponse.SERVING
        tell(service)
        assert next(watch) == health_pb2.HealthCheckResponse.NOT_SERVING
        calls.add("in the notice", random_codes(2))

        def refused() -> bool:
            try:
                calls.get()
            except grpc.RpcError as error:
                failures.append(Failure.of(error))
            return bool(failures)

        failures: list[Failure] = []
        eventually(refused)
        assert failures[0].code is grpc.StatusCode.UNAVAILABLE
        assert failures[0].info.reason == "DRAINING"
        assert failures[0].retry.retry_delay.ToMilliseconds() > 0
        ingest.finish()
        assert ingest.call.result().slide.patch_count == 8
        assert service.ended() == 0
        with service.start().channel() as again:
            assert Calls(again).held() == ["in the notice", "open"]


def test_what_is_open_at_the_end_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    settings = {"shutdown_grace_s": 0.3}
    with ServiceProcess(tmp_path, settings) as service, service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        ingest = OpenIngest(calls, "half")
        ingest.send(2)
        search = calls.searches.SearchSlide(
            _and_nothing_more(calls.questions(random_codes(1))), timeout=60
        )
        next(search)
        eventually(lambda: service.metric('slidekin_calls_admitted{kind="stream"}') == 2)
        tell(service)
        for call in (ingest.call.result, lambda: list(search)):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            failure = Failure.of(caught.value)
            assert failure.code is grpc.StatusCode.UNAVAILABLE
            assert failure.info.reason == "DRAINING"
            assert failure.retry.retry_delay.ToMilliseconds() > 0
        assert service.ended() == 0
        with service.start().channel() as again:
            assert Calls(again).held() == []


def test_every_watcher_is_told_though_others_have_left(tmp_path: Path) -> None:
    with (
        ServiceProcess(tmp_path, {"shutdown_notice_s": 2.0}) as service,
        service.channel() as channel,
    ):
        watches = [health(channel) for _ in range(3)]
        for watch in watches:
            assert next(watch) == health_pb2.HealthCheckResponse.SERVING
        watches[0].close()
        eventually(
            lambda: (
                service.metric('slidekin_rpcs_in_progress{method="/grpc.health.v1.Health/Watch"}')
                == 2
            )
        )
        tell(service)
        for watch in watches[1:]:
            assert next(watch) == health_pb2.HealthCheckResponse.NOT_SERVING


def _and_nothing_more(messages: Iterator) -> Iterator:
    """The messages, and then an end that never comes."""
    yield from messages
    with contextlib.suppress(queue.Empty):
        queue.SimpleQueue().get(timeout=60)


def test_a_stream_that_neither_sends_nor_reads_is_ended_and_its_place_is_free(
    tmp_path: Path,
) -> None:
    with (
        ServiceProcess(tmp_path, {"admission": {"idle_timeout_s": 0.5}}) as service,
        service.channel() as channel,
    ):
        calls = Calls(channel)
        calls.create()
        ingest = OpenIngest(calls, "silent")
        with pytest.raises(grpc.RpcError) as caught:
            ingest.call.result()
        failure = Failure.of(caught.value)
        assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert failure.info.reason == "STREAM_IDLE"
        assert "within 0.5 s" in failure.message
        eventually(lambda: service.metric('slidekin_calls_admitted{kind="stream"}') == 0)
        assert calls.held() == []


def test_an_export_that_nobody_reads_is_ended_and_its_place_is_free(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path)
    with service:
        with service.channel() as channel:
            calls = Calls(channel)
            calls.create()
            for number in range(6):  # far more than travels ahead of a reader
                calls.add(f"slide-{number}", random_codes(number, patches=1000))
        service.stop()
        service.overrides = {"admission": {"idle_timeout_s": 0.5}}
        service.start()
        options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 64 * 1024)]
        with grpc.insecure_channel(service.url, options=options) as channel:
            calls = Calls(channel)
            request = slides_pb2.ExportSlidesRequest(parent=calls.parent)
            export = calls.slides.ExportSlides(request)
            places = 'slidekin_calls_admitted{kind="stream"}'
            admitted = 'slidekin_admissions_total{result="admitted"}'
            eventually(lambda: service.metric(admitted) == 1 and service.metric(places) == 0)
            # What was on its way is read first, then why there is no more.
            with pytest.raises(grpc.RpcError) as caught:
                list(export)
            failure = Failure.of(caught.value)
            assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert failure.info.reason == "STREAM_IDLE"
            assert "was not read" in failure.message
