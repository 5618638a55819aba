"""Curves of a workload from idle to past saturation, and two sites beside each other."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.lines import say
from tests.load.saturation import Step, find_saturation
from tests.load.sites import Answered, Load, SiteProcess, Together, put_on
from tests.load.stack import Stack
from tests.load.tally import Tally, quantiles_ms

OVERLOAD = 2.0
"""Times the saturating rate at which goodput must hold."""
_seeds = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Effort:
    """How long is measured."""

    settle_s: float
    """Until queues are as long as they get."""
    step_s: float
    """What counts of a step on the way to saturation."""
    sustained_s: float
    """What counts of each step at saturation and past it: these are compared with each other."""
    halvings: int = 2
    """Steps between the last rate that was followed and the first that was not."""
    factors: tuple[float, ...] = (1.0, 1.5, OVERLOAD, 3.0)
    """Times the saturating rate, that are put on after it was found; ascending, from 1."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked, in which proportion."""

    name: str
    shares: Mapping[str, float]
    """Of each kind; they sum up to 1."""
    patience_s: Mapping[str, float]
    """How long a caller of each kind waits."""
    start: float
    """Calls a second of the first step."""

    def load(self, rate: float, settle_s: float, seconds: float) -> Load:
        """Return a load of this workload, counted for some seconds after it has settled."""
        rates = {kind: share * rate for kind, share in self.shares.items()}
        return Load(rates, self.patience_s, settle_s + seconds, settle_s, next(_seeds))


def curve(site: SiteProcess, stack: Stack, workload: Workload, effort: Effort) -> float:
    """Raise the rate to saturation and past it, and say what came of each step.

    Returns:
        The saturating rate, in calls a second.
    """

    def measure(rate: float, seconds: float, phase: str, **more: float) -> Step:
        load = workload.load(rate, effort.settle_s, seconds)
        together = put_on({site: load}, stack.process)
        return _say_step(workload.name, rate, phase, together, **more)

    saturating = find_saturation(
        lambda rate: measure(rate, effort.step_s, "to saturation"),
        start=workload.start,
        halvings=effort.halvings,
    )
    # The short steps on the way up are no measure of what the service can do: the greatest of many
    # is greater by chance.
    goodput = {
        factor: measure(
            factor * saturating, effort.sustained_s, "from saturation on", factor=factor
        ).goodput
        for factor in effort.factors
    }
    greatest = max(value for factor, value in goodput.items() if factor < OVERLOAD)
    facts = {"workload": workload.name, "goodput": round(greatest, 3)}
    say("saturation", saturating, "calls/s", **facts)
    kept = 100 * goodput[OVERLOAD] / greatest
    say("goodput kept", kept, "%", workload=workload.name, factor=OVERLOAD)
    return saturating


@dataclass(frozen=True, slots=True)
class Fairness:
    """A site that asks little, beside one that asks more than the service can do."""

    name: str
    quiet: Load
    """Of the first site, alone and beside the other."""
    flood: Load
    """Of the second."""


def beside_a_flood(
    quiet: SiteProcess, flood: SiteProcess, stack: Stack, fairness: Fairness
) -> None:
    """Measure a site alone, then beside a flood, and say both."""
    alone = put_on({quiet: fairness.quiet}, stack.process)
    beside = put_on({quiet: fairness.quiet, flood: fairness.flood}, stack.process)
    before, after = _summed(alone.answered[0]), _summed(beside.answered[0])
    other = _summed(beside.answered[1])
    for situation, tally, together in (("alone", before, alone), ("beside", after, beside)):
        say(
            "quiet site",
            100 * tally.outcomes["OK"] / max(tally.offered, 1),
            "% answered",
            fairness=fairness.name,
            situation=situation,
            valid=together.valid,
            **_facts(tally),
        )
    say(
        "flooding site",
        other.good_per_s,
        "calls/s",
        fairness=fairness.name,
        offered=round(other.offered_per_s, 2),
        identity=flood.site.name,
        **_facts(other),
    )
    for quantile in ("p50", "p99"):
        lone_ms = quantiles_ms(before.answered_us).get(quantile, 0.0)
        beside_ms = quantiles_ms(after.answered_us).get(quantile)
        # Where nothing was answered there is no latency to compare, and no line.
        if lone_ms and beside_ms:
            times = beside_ms / lone_ms
            say("quiet site slower", times, "times", fairness=fairness.name, quantile=quantile)


def _say_step(name: str, rate: float, phase: str, together: Together, **more: float) -> Step:
    (answered,) = together.answered
    summed = _summed(answered)
    step = Step(rate, summed.offered_per_s, summed.good_per_s)
    say(
        "step",
        step.goodput,
        "calls/s",
        workload=name,
        phase=phase,
        rate=round(rate, 3),
        offered=round(step.offered, 3),
        valid=together.valid,
        generator_lag_p99_ms=round(answered.lag_p99_ms, 2),
        generator_cpu=round(answered.cpu_share, 2),
        service_cpu=round(together.service_cpu_share, 2),
        kinds={kind: _facts(tally) for kind, tally in answered.tallies.items()},
        **_facts(summed),
        **more,
    )
    return step


def _summed(answered: Answered) -> Tally:
    """Put kinds together."""
    tallies = list(answered.tallies.values())
    summed = Tally(tallies[0].begin_s, tallies[0].end_s)
    for tally in tallies:
        summed.merge(tally)
    return summed


def _facts(tally: Tally) -> dict[str, Any]:
    """What belongs to a figure of goodput."""
    return {
        "calls": tally.offered,
        "outcomes": dict(Counter(tally.outcomes).most_common()),
        "refused": tally.refused,
        "refused_with_retry": tally.refused_with_retry,
        "answered_ms": quantiles_ms(tally.answered_us),
        "refused_ms": quantiles_ms(tally.refused_us),
    }
