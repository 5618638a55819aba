"""Turns and threads: bounded, in fair order, and for nobody who stopped waiting."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from prometheus_client import CollectorRegistry
from tests.unit.server.waiting import until

from slidekin_server.admission import (
    DeadlinePassedError,
    DrainingError,
    FairPool,
    Reason,
    RefusedError,
    Ticket,
    Turns,
    set_ticket,
)
from slidekin_server.callers import Caller, Urgency
from slidekin_server.telemetry import Metrics


def ticket(identity: str = "a", urgency: Urgency = Urgency.INTERACTIVE, *, s: float | None = None):
    return Ticket(Caller(identity, urgency), None if s is None else time.monotonic() + s)


class Counted:
    def __init__(self):
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)

    def waiting(self, stage: str, urgency: str = "interactive") -> float | None:
        labels = {"stage": stage, "urgency": urgency}
        return self.registry.get_sample_value("slidekin_turns_waiting", labels)


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_no_more_turns_are_had_than_there_are(counted: Counted):
    async def run():
        turns = Turns("encoder", 2, bulk_every=8, metrics=counted.metrics)
        had = [await turns.take(ticket()) for _ in range(2)]
        third = asyncio.create_task(turns.take(ticket()))
        await until(lambda: counted.waiting("encoder") == 1)
        assert not third.done()
        had[0].end()
        (await third).end()
        had[1].end()
        assert counted.waiting("encoder") == 0
        for _ in range(2):  # all are back
            await asyncio.wait_for(turns.take(ticket()), 1)

    asyncio.run(run())


def test_a_waiter_who_is_cancelled_loses_no_turn_for_the_others(counted: Counted):
    async def run():
        turns = Turns("encoder", 1, bulk_every=8, metrics=counted.metrics)
        had = await turns.take(ticket())
        waiters = [asyncio.create_task(turns.take(ticket())) for _ in range(3)]
        await until(lambda: counted.waiting("encoder") == 3)
        waiters[1].cancel()
        had.end()
        # The first has it by now, and goes away before it has noticed.
        waiters[0].cancel()
        (await waiters[2]).end()
        await asyncio.wait_for(turns.take(ticket()), 1)

    asyncio.run(run())


def test_a_turn_that_would_come_too_late_is_refused_at_once(counted: Counted):
    async def run():
        turns = Turns("encoder", 1, bulk_every=8, metrics=counted.metrics)
        turns._pace.observe(0.5)
        had = await turns.take(ticket())
        waiters = [asyncio.create_task(turns.take(ticket())) for _ in range(9)]
        await until(lambda: counted.waiting("encoder") == 9)
        with pytest.raises(RefusedError) as caught:
            await turns.take(ticket(s=2.0))
        assert caught.value.reason is Reason.OVERLOADED
        assert caught.value.retry_after_s == pytest.approx(5.0)
        patient = asyncio.create_task(turns.take(ticket(s=60.0)))
        # Another identity waits for its own share alone.
        other = asyncio.create_task(turns.take(ticket("b", s=2.0)))
        await until(lambda: counted.waiting("encoder") == 11)
        had.end()
        for waiter in (*waiters, patient, other):
            waiter.cancel()

    asyncio.run(run())


def test_a_turn_that_would_end_too_late_is_refused_and_one_that_is_alone_never(counted: Counted):
    async def run():
        turns = Turns("encoder", 4, bulk_every=8, metrics=counted.metrics)
        turns._pace.observe(1.0)
        first = await turns.take(ticket(s=0.5))  # the guess may be wrong: somebody has to try
        (await turns.take(ticket(s=3.0))).give_back()
        with pytest.raises(
            RefusedError
        ) as caught:  # there are turns, but two would take two seconds
            await turns.take(ticket(s=2.0))
        assert caught.value.reason is Reason.OVERLOADED
        first.end()
        assert turns._pace.mean_s < 1.0

    asyncio.run(run())


def test_who_has_waited_for_too_long_is_refused_and_the_next_has_the_turn(counted: Counted):
    async def run():
        turns = Turns("encoder", 2, bulk_every=8, metrics=counted.metrics)
        turns._pace.observe(0.1)
        had = [await turns.take(ticket()) for _ in range(2)]
        late = asyncio.create_task(turns.take(ticket(s=1.0)))
        patient = asyncio.create_task(turns.take(ticket(s=100.0)))
        await until(lambda: counted.waiting("encoder") == 2)
        turns._pace.observe(20.0)  # the place has become slow
        had[0].give_back()
        with pytest.raises(RefusedError):
            await late
        (await patient).end()
        had[1].end()

    asyncio.run(run())


def test_bulk_has_no_more_turns_than_are_done_in_half_a_second(counted: Counted):
    async def run():
        turns = Turns("encoder", 8, bulk_every=8, metrics=counted.metrics)
        bulk = [await turns.take(ticket("x", Urgency.BULK)) for _ in range(8)]  # nothing is known
        for turn in bulk:
            turn.give_back()
        turns._pace.observe(0.2)
        bulk = [await turns.take(ticket("x", Urgency.BULK)) for _ in range(2)]
        more = [asyncio.create_task(turns.take(ticket("x", Urgency.BULK))) for _ in range(2)]
        await until(lambda: counted.waiting("encoder", "bulk") == 2)
        # Somebody who is in a hurry passes all that waits.
        hurried = [await asyncio.wait_for(turns.take(ticket("y")), 1) for _ in range(6)]
        bulk.pop().give_back()
        bulk.append(await more[0])
        assert not more[1].done()
        for turn in (*bulk, *hurried):
            turn.give_back()
        (await more[1]).give_back()
        assert turns._in_use == 0

    asyncio.run(run())


def test_ingest_that_waits_for_its_share_is_reckoned_behind_what_is_under_way(counted: Counted):
    async def run():
        turns = Turns("encoder", 16, bulk_every=8, metrics=counted.metrics)
        turns._pace.observe(1.0)
        had = [await turns.take(ticket("x", Urgency.BULK)) for _ in range(2)]
        third = asyncio.create_task(turns.take(ticket("x", Urgency.BULK, s=10.0)))
        await until(lambda: counted.waiting("encoder", "bulk") == 1)
        had[0].give_back()
        (await third).give_back()
        had[1].give_back()

    asyncio.run(run())


def test_who_waits_past_the_deadline_is_told(counted: Counted):
    async def run():
        turns = Turns("encoder", 1, bulk_every=8, metrics=counted.metrics)
        await turns.take(ticket())
        with pytest.raises(DeadlinePassedError):
            await turns.take(ticket(s=0.05))
        assert counted.waiting("encoder") == 0
        with pytest.raises(DeadlinePassedError):
            await turns.take(ticket(s=0.0))

    asyncio.run(run())


class Pool:
    """A pool of one thread, held up until a test lets it go."""

    def __init__(self, counted: Counted):
        self.counted = counted
        self.pool = FairPool("search", 1, bulk_every=8, metrics=counted.metrics)
        self.go = threading.Event()
        self.done: list[str] = []

    async def __aenter__(self):
        self._first = self.task("hold", ticket("hold"), self.go.wait)
        await until(lambda: self.waiting == 0)
        return self

    async def __aexit__(self, *_):
        self.go.set()
        await self._first
        await asyncio.to_thread(self.pool.close)

    @property
    def waiting(self) -> float:
        return sum(self.counted.waiting("search", one) or 0 for one in ("interactive", "bulk"))

    def task(self, name: str, whose: Ticket, function=lambda: None) -> asyncio.Task:
        async def run():
            set_ticket(whose)
            await self.pool.run(function)
            self.done.append(name)

        return asyncio.create_task(run())


def test_threads_work_in_fair_order(counted: Counted):
    async def run():
        async with Pool(counted) as bench:
            bulk = [bench.task("bulk", ticket("x", Urgency.BULK)) for _ in range(3)]
            many = [bench.task("many", ticket("many")) for _ in range(3)]
            one = bench.task("one", ticket("one"))
            await until(lambda: bench.waiting == 7)
            bench.go.set()
            await asyncio.gather(*bulk, *many, one)
            names = [name for name in bench.done if name != "hold"]
            assert names == ["many", "one", "many", "many", "bulk", "bulk", "bulk"]

    asyncio.run(run())


def test_what_was_cancelled_late_or_over_is_never_begun(counted: Counted):
    begun = []

    async def run():
        async with Pool(counted) as bench:
            late, ended = ticket(s=0.05), ticket()
            cancelled = bench.task("cancelled", ticket(), lambda: begun.append("cancelled"))
            tasks = [bench.task("x", one, lambda: begun.append("x")) for one in (late, ended)]
            await until(lambda: bench.waiting == 3)
            cancelled.cancel()
            ended.over = True
            await until(lambda: not late.wanted)
            bench.go.set()
            for task in tasks:
                with pytest.raises(DeadlinePassedError):
                    await task
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            assert bench.waiting == 0

    asyncio.run(run())
    assert begun == []


def test_failures_come_back_and_a_closed_pool_takes_nothing(counted: Counted):
    def fail():
        raise ValueError("as told")

    async def run():
        pool = FairPool("search", 2, bulk_every=8, metrics=counted.metrics)
        with pytest.raises(ValueError, match="as told"):
            await pool.run(fail)
        assert await pool.run(sum, [1, 2]) == 3
        pool.close()
        with pytest.raises(DrainingError, match="the service is stopping"):
            await pool.run(sum, [1])

    asyncio.run(run())
