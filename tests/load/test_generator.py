"""The generator tells the truth: who waited, how late it was itself, where things break."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.load.arrivals import Arrival, poisson
from tests.load.generator import Question, drive, kept_its_rate
from tests.load.requests import KINDS, Requests, Site
from tests.load.saturation import NeverSaturatedError, Step, find_saturation
from tests.load.stack import COLLECTION, codes_stack
from tests.load.tally import Outcome, Passage, Tally, quantiles_ms

_EVERY_50_MS = [Arrival(place * 0.05, "search") for place in range(20)]


def test_arrivals_come_by_rate_and_seed_and_mix():
    arrivals = poisson({"search": 80, "add": 20}, 100, seed=7)
    assert arrivals == poisson({"search": 80, "add": 20}, 100, seed=7)
    assert arrivals != poisson({"search": 80, "add": 20}, 100, seed=8)
    times = [arrival.at_s for arrival in arrivals]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] < 100
    kinds = Counter(arrival.kind for arrival in arrivals)
    assert kinds["search"] == pytest.approx(8000, rel=0.05)
    assert kinds["add"] == pytest.approx(2000, rel=0.1)


def test_calls_start_however_long_the_others_take():
    """A closed loop would make one call; here all are under way before the first is answered."""

    async def run() -> Tally:
        under_way, all_under_way = 0, asyncio.Event()

        async def ask(_: float) -> Outcome:
            nonlocal under_way
            under_way += 1
            if under_way == len(_EVERY_50_MS):
                all_under_way.set()
            await all_under_way.wait()
            return Outcome()

        driven = await drive(_EVERY_50_MS, {"search": Question(ask, 60)}, seconds=60)
        return driven.tallies["search"]

    tally = asyncio.run(run())
    assert tally.offered == len(_EVERY_50_MS)
    # Whoever came first waited for all that came after.
    assert tally.answered_us.get_max_value() >= 0.95e6
    assert tally.answered_us.get_value_at_percentile(50) >= 0.45e6


def test_a_generator_that_is_late_counts_from_when_the_call_was_due_and_says_so():
    async def run() -> Tally:
        left: list[float] = []

        async def ask(timeout_s: float) -> Outcome:
            if not left:
                time.sleep(0.5)  # noqa: ASYNC251  the generator itself stalls
            left.append(timeout_s)
            return Outcome()

        driven = await drive(_EVERY_50_MS, {"search": Question(ask, 2)}, seconds=60)
        # The callers' patience began when they were due, not when they were let in.
        assert min(left) <= 2 - 0.4
        return driven.tallies["search"]

    tally = asyncio.run(run())
    assert tally.lag_us.get_max_value() >= 0.4e6
    # The one that stalled, and those that were due in the 0.45 s after it.
    assert _count_above(tally, 0.04) >= 10
    assert not kept_its_rate(tally)


def test_a_stalled_service_shows_in_the_latencies_of_all_who_came_meanwhile(tmp_path: Path):
    """A real one, stopped for a second: who asks it one by one would see one slow call."""

    async def run() -> Tally:
        with codes_stack(tmp_path, 600) as stack:
            url, fingerprint = stack.service.url, stack.fingerprint
            site = Site(url, "site", COLLECTION, fingerprint, stack.texture_bits, connections=2)
            requests = Requests(site)
            question = Question(KINDS["list"](requests), 30)
            # Until the first call has gone through, connections are being made.
            assert await question.ask(30) == await question.ask(30) == Outcome()
            begin = time.monotonic() + 0.1
            load = drive(_EVERY_50_MS, {"search": question}, seconds=60, start_at=begin)
            task = asyncio.create_task(load)
            await asyncio.sleep(0.1)
            os.kill(stack.process.pid, signal.SIGSTOP)
            await asyncio.sleep(1.5)
            os.kill(stack.process.pid, signal.SIGCONT)
            driven = await task
            await requests.close()
            return driven.tallies["search"]

    tally = asyncio.run(run())
    assert tally.outcomes == {"OK": len(_EVERY_50_MS)}
    # The last was due 0.95 s after the begin: of twenty, all but the first few waited.
    assert _count_above(tally, 0.45) >= 15


def test_only_the_window_counts_and_goodput_is_what_was_answered_in_it():
    tally = Tally(begin_s=1, end_s=3)
    tally.add(_call(0.5, 0.9))  # before
    tally.add(_call(0.9, 1.1))  # answered within, due before
    tally.add(_call(1.5, 1.6))
    tally.add(_call(2.9, 3.1))  # due within, answered after
    tally.add(_call(2, 2.01, Outcome("RESOURCE_EXHAUSTED", "BUSY", 0.5)))
    tally.add(_call(2, 2.01, Outcome("RESOURCE_EXHAUSTED", "BUSY")))
    tally.add(_call(2, 4, Outcome("DEADLINE_EXCEEDED")))
    tally.add(_call(3.5, 3.6))  # after
    assert (tally.offered, tally.good) == (5, 2)
    assert (tally.offered_per_s, tally.good_per_s) == (2.5, 1)
    assert (tally.refused, tally.refused_with_retry) == (2, 1)
    assert tally.outcomes == {"OK": 2, "RESOURCE_EXHAUSTED BUSY": 2, "DEADLINE_EXCEEDED": 1}
    assert tally.answered_us.get_total_count() == 2


def test_tallies_of_two_processes_add_up_to_one_of_all_calls():
    calls = [_call(0.1 * place, 0.1 * place + 0.001 * place**2) for place in range(1, 90)]
    calls += [_call(1, 1.5, Outcome("UNAVAILABLE", "ENCODER_BUSY", 1)) for _ in range(5)]
    whole, first, second = (Tally(0, 100) for _ in range(3))
    for place, call in enumerate(calls):
        whole.add(call)
        (first if place % 3 else second).add(call)
    merged = Tally(0, 100)
    for part in (first, second):
        # As they travel between processes.
        merged.merge(Tally.from_json(json.loads(json.dumps(part.to_json()))))
    assert merged.to_json() == whole.to_json()
    assert quantiles_ms(merged.answered_us) == quantiles_ms(whole.answered_us)
    assert merged.answered_us.get_total_count() == 89


def test_histograms_keep_three_digits():
    tally = Tally(0, 100)
    for latency_s in (0.000123, 0.0456, 7.89):
        tally.add(_call(1, 1 + latency_s))
    assert tally.answered_us.get_max_value() == pytest.approx(7.89e6, rel=1e-3)
    assert tally.answered_us.get_min_value() == pytest.approx(123, rel=1e-2)


@pytest.mark.parametrize("capacity", [3.0, 41.0, 700.0])
@pytest.mark.parametrize("collapse", [0.0, 1.0])
def test_saturation_is_found_wherever_it_is(capacity: float, collapse: float):
    """Whether goodput stays at what the service can do, or falls as more is asked."""

    def measure(rate: float) -> Step:
        past = max(0.0, rate - capacity)
        return Step(rate, rate, max(0.0, min(rate, capacity) - collapse * past))

    found = find_saturation(measure, start=20, halvings=3)
    assert capacity * 0.85 <= found <= capacity / 0.9


def test_a_service_that_is_never_saturated_is_no_result():
    with pytest.raises(NeverSaturatedError, match="followed every one"):
        find_saturation(lambda rate: Step(rate, rate, rate), start=10, most_steps=4)
    with pytest.raises(NeverSaturatedError, match="followed none"):
        find_saturation(lambda rate: Step(rate, rate, 0), start=10, most_steps=4)


def _call(intended_s: float, ended_s: float, outcome: Outcome | None = None) -> Passage:
    return Passage("search", intended_s, intended_s, ended_s, outcome or Outcome())


def _count_above(tally: Tally, seconds: float) -> int:
    return sum(
        item.count_added_in_this_iter_step
        for item in tally.answered_us.get_recorded_iterator()
        if item.value_iterated_to > seconds * 1e6
    )
