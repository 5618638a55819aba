"""The open loop: every call starts when it is due, however the others fare.

A closed loop asks again when it was answered: while a service stalls, it asks nothing, and its
latencies forget those who came meanwhile (coordinated omission). Here each arrival is a task of its
own, and its latency counts from the moment it was due.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.load.arrivals import Arrival
from tests.load.tally import Outcome, Passage, Tally

Ask = Callable[[float], Awaitable[Outcome]]
"""Makes one call that has so many seconds, and says how it ended; never raises."""

MOST_LAG_MS = 100.0
"""Of 99 calls in 100: a generator that is later than this measured itself."""


@dataclass(frozen=True, slots=True)
class Question:
    """One kind of call."""

    ask: Ask
    patience_s: float
    """How long the one who asks waits for the answer, from when it was due to be asked."""


@dataclass
class Driven:
    """What a load came to."""

    tallies: dict[str, Tally]
    """By kind."""
    cpu_s: float = 0.0
    """Processor time of the generator."""
    wall_s: float = 0.0
    """From the first arrival to the last answer."""
    passages: list[Passage] = field(default_factory=list)
    """Every call, where they were asked for."""


async def drive(
    arrivals: Sequence[Arrival],
    questions: Mapping[str, Question],
    *,
    seconds: float,
    settle_s: float = 0.0,
    start_at: float | None = None,
    keep: bool = False,
) -> Driven:
    """Make calls when they are due and wait for the last to end.

    Args:
        arrivals: In order of time.
        questions: How each kind is asked.
        seconds: How long the arrivals go on.
        settle_s: From here on calls count.
        start_at: When to begin, by ``time.monotonic``; None: now.
        keep: Keep every call.
    """
    tallies = {kind: Tally(settle_s, seconds) for kind in questions}
    driven = Driven(tallies)
    begin = time.monotonic() if start_at is None else start_at
    cpu_before = time.process_time()

    async def one(arrival: Arrival) -> None:
        question = questions[arrival.kind]
        started_s = time.monotonic() - begin
        left_s = question.patience_s - (started_s - arrival.at_s)
        outcome = await question.ask(max(left_s, 0.001))
        ended_s = time.monotonic() - begin
        call = Passage(arrival.kind, arrival.at_s, started_s, ended_s, outcome)
        tallies[arrival.kind].add(call)
        if keep:
            driven.passages.append(call)

    async with asyncio.TaskGroup() as tasks:
        for arrival in arrivals:
            wait_s = begin + arrival.at_s - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            tasks.create_task(one(arrival))
    driven.wall_s = time.monotonic() - begin
    driven.cpu_s = time.process_time() - cpu_before
    return driven


def kept_its_rate(tally: Tally) -> bool:
    """Say whether calls were started when they were due."""
    lag_us = tally.lag_us
    return not lag_us.get_total_count() or (
        lag_us.get_value_at_percentile(99) / 1000 <= MOST_LAG_MS
    )
