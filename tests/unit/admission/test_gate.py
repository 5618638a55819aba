"""Which calls are taken: bounds for each and for all, and no search that would be late."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from prometheus_client import CollectorRegistry

from slidekin_server.admission import (
    Bounds,
    DeadlinePassedError,
    DrainingError,
    Gate,
    InFlight,
    Kind,
    Reason,
    RefusedError,
    Ticket,
)
from slidekin_server.callers import Caller, Urgency
from slidekin_server.telemetry import Metrics

UNARY = Kind("/s/Get")
STREAM = Kind("/s/Add", streams=True, brings_patches=True)
SEARCH = Kind("/s/Search", streams=True, searches=True, brings_patches=True)


class Bench:
    def __init__(self, *, each: int = 2, in_all: int = 3, max_wait_s: float = 30.0):
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        self.in_flight = InFlight(Bounds(8, 4), Bounds(800, 400), metrics)
        self.gate = Gate(
            streams=Bounds(in_all, each),
            calls=Bounds(in_all, each),
            in_flight=self.in_flight,
            search_threads=2,
            max_wait_s=max_wait_s,
            metrics=metrics,
        )
        self.open = contextlib.ExitStack()

    def admit(self, kind: Kind, identity: str = "a", *, s: float | None = None) -> Ticket:
        ticket = Ticket(Caller(identity), None if s is None else time.monotonic() + s)
        self.open.enter_context(self.gate.admitted(kind, ticket))
        return ticket

    def refused(self, kind: Kind, identity: str = "a", *, s: float | None = None) -> RefusedError:
        with pytest.raises(RefusedError) as caught:
            self.admit(kind, identity, s=s)
        return caught.value

    def told(self, result: str) -> float | None:
        return self.registry.get_sample_value("slidekin_admissions_total", {"result": result})


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(UNARY, Reason.TOO_MANY_CALLS), (STREAM, Reason.TOO_MANY_STREAMS)],
)
def test_one_caller_may_not_take_all_and_all_no_more_than_there_is(kind: Kind, reason: Reason):
    bench = Bench(each=2, in_all=3)
    bench.admit(kind, "a")
    bench.admit(kind, "a")
    error = bench.refused(kind, "a")
    assert error.reason is reason
    assert "2 " in str(error)
    assert "of this caller" in str(error)
    assert error.retry_after_s > 0
    bench.admit(kind, "b")
    error = bench.refused(kind, "c")
    assert error.reason is reason
    assert "of this caller" not in str(error)
    assert bench.told("admitted") == 3
    assert bench.told(reason.value.lower()) == 2
    bench.open.close()
    bench.admit(kind, "c")


def test_a_place_is_free_again_however_the_call_ended():
    bench = Bench(each=1, in_all=1)
    for _ in range(3):
        with (
            contextlib.suppress(ValueError),
            bench.gate.admitted(STREAM, ticket := Ticket(Caller("a"))),
        ):
            assert ticket.wanted
            raise ValueError
        assert not ticket.wanted


def test_who_has_filled_a_share_of_the_patches_opens_nothing_more():
    async def run():
        bench = Bench()
        held = await bench.in_flight.take(Ticket(Caller("a")), patches=4, image_bytes=10)
        assert bench.refused(STREAM, "a").reason is Reason.TOO_MANY_PATCHES
        bench.admit(UNARY, "a")
        bench.admit(STREAM, "b")
        held.give_back()
        bench.admit(STREAM, "a")
        await bench.in_flight.take(Ticket(Caller("a")), patches=1, image_bytes=400)
        assert bench.refused(STREAM, "a").reason is Reason.TOO_MANY_BYTES

    asyncio.run(run())


def test_ingest_that_fills_its_share_leaves_that_of_searches_free():
    async def run():
        in_flight = Bench().in_flight
        for identity in "ab":
            bulk = Ticket(Caller(identity, Urgency.BULK))
            await in_flight.take(bulk, patches=4, image_bytes=4)
        late = Ticket(Caller("c", Urgency.BULK), time.monotonic() + 0.05)
        with pytest.raises(DeadlinePassedError):
            await in_flight.take(late, patches=1, image_bytes=1)
        await asyncio.wait_for(in_flight.take(Ticket(Caller("c")), patches=1, image_bytes=1), 1)

    asyncio.run(run())


def test_a_patch_larger_than_a_share_passes_alone():
    async def run():
        in_flight = Bench().in_flight
        held = await in_flight.take(Ticket(Caller("a")), patches=1, image_bytes=10_000)
        assert in_flight.full(Caller("a")) is Reason.TOO_MANY_BYTES
        held.give_back()
        held.give_back()
        assert in_flight.full(Caller("a")) is None

    asyncio.run(run())


def searched(bench: Bench, seconds: float) -> None:
    """Let a search be answered that took so long."""
    ticket = Ticket(Caller("a"))
    with bench.gate.admitted(SEARCH, ticket):
        ticket.computed_s = seconds


def test_a_search_that_would_be_late_is_refused_and_told_when_to_come_back():
    bench = Bench(each=50, in_all=50)
    searched(bench, 1.0)
    before = [bench.admit(SEARCH) for _ in range(8)]  # four seconds of two threads
    error = bench.refused(SEARCH, s=6.0)
    assert error.reason is Reason.OVERLOADED
    assert error.retry_after_s == pytest.approx(4.0)
    bench.admit(STREAM, s=6.0)  # no work of theirs
    bench.admit(UNARY, s=6.0)
    bench.admit(SEARCH, s=60.0)
    for ticket in before:
        ticket.computed_s = 0.9
    bench.admit(SEARCH, s=6.0)


def test_a_search_is_not_refused_for_what_another_caller_has_asked_for():
    bench = Bench(each=50, in_all=90)
    searched(bench, 1.0)
    for _ in range(20):  # ten seconds of two threads
        bench.admit(SEARCH, "many")
    assert bench.refused(SEARCH, "many", s=6.0).reason is Reason.OVERLOADED
    # In fair turns each of these waits for as many of the others.
    for _ in range(2):
        bench.admit(SEARCH, "few", s=6.0)
    assert bench.refused(SEARCH, "few", s=6.0).reason is Reason.OVERLOADED


def test_a_search_without_a_deadline_waits_no_longer_than_the_limit():
    bench = Bench(each=50, in_all=50, max_wait_s=3.0)
    searched(bench, 1.0)
    for _ in range(3):
        bench.admit(SEARCH)
    assert bench.refused(SEARCH).reason is Reason.OVERLOADED


def test_a_lone_search_is_taken_whatever_others_took_before():
    bench = Bench()
    searched(bench, 100.0)
    bench.admit(SEARCH, s=0.5)


def test_a_service_that_drains_takes_nothing():
    bench = Bench()
    bench.gate.drain()
    error = bench.refused(UNARY)
    assert isinstance(error, DrainingError)
    assert error.reason is Reason.DRAINING
