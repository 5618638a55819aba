"""A steady mixture of everything that is asked, while somebody looks at what is held."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from tests.bench.lines import say
from tests.load.requests import Site
from tests.load.sites import Answered, Load, SiteProcess
from tests.load.stack import COLLECTION, Stack, images_stack
from tests.load.tally import OK, quantiles_ms
from tests.soak.sampling import Sample, Sampler
from tests.soak.trend import FULL_LIMITS, SHORT_LIMITS, Limit, Trend, trends

RATES = {
    "search": 6.0,
    "add": 1.5,
    "delete": 0.5,
    "list": 1.0,
    "cancel": 0.7,
    "slow": 0.3,
    "search image": 0.12,
    "add images": 0.015,
}
"""Calls a second of each kind: less than half of what two cores can do."""
PATIENCE_S = {
    "search": 10.0,
    "add": 10.0,
    "delete": 10.0,
    "list": 10.0,
    "cancel": 10.0,
    "slow": 30.0,
    "search image": 30.0,
    "add images": 60.0,
}
_FILL = Load({"search image": 20.0}, {"search image": 60.0}, 1.2, settle_s=0, seed=2)
"""More than Triton takes at once: what keeps room for that many, has it when the run begins."""
_IDLE = ("slidekin_rpcs_in_progress", "slidekin_encoder_in_flight", "slidekin_encoder_waiting")
"""Gauges of work that is under way: nothing is once nobody asks."""
_QUIET_S = 20.0
_SITE = "soak"


@dataclass(frozen=True, slots=True)
class Soak:
    """How long, and how strictly."""

    seconds: float
    interval_s: float
    """Between two samples."""
    patches: int
    """That the service holds before."""
    ring: int
    """Slides that are added over and over again."""
    limits: Sequence[Limit]

    @classmethod
    def of_minutes(cls, minutes: float) -> Soak:
        """A run whose verdict counts."""
        return cls(minutes * 60, interval_s=5, patches=60_000, ring=100, limits=FULL_LIMITS)

    @classmethod
    def short(cls, seconds: float) -> Soak:
        """A run that shows what leaks with every call, and nothing that leaks slowly."""
        return cls(seconds, interval_s=1, patches=6_000, ring=15, limits=SHORT_LIMITS)


@dataclass(frozen=True)
class Report:
    """What came of a run."""

    samples: Sequence[Sample]
    trends: Sequence[Trend]
    answered: Answered
    left_over: Mapping[str, float]
    """Gauges of work under way that were not zero after the end."""

    @property
    def faults(self) -> list[str]:
        """What is wrong, in words."""
        grown = [
            f"{trend.limit.title} grew by {trend.growth:.1f} {trend.limit.unit} "
            f"(allowed: {trend.allowed:.1f})"
            for trend in self.trends
            if not trend.flat
        ]
        left = [f"{name} is {value:g} when nobody asks" for name, value in self.left_over.items()]
        unanswered = [
            f"of {tally.offered} calls {kind!r} {tally.outcomes[OK]} were answered: "
            f"{dict(tally.outcomes)}"
            for kind, tally in self.answered.tallies.items()
            # Chance may ask for little; where it asked, it must be answered.
            if tally.outcomes[OK] < 0.99 * tally.offered - 1
        ]
        return grown + left + unanswered


def run(folder: Path, soak: Soak) -> Report:
    """Put the load on and say every sample, every trend, and how the calls ended."""
    with images_stack(folder, soak.patches, (_SITE,)) as stack:
        site = Site(
            stack.service.url,
            _SITE,
            COLLECTION,
            stack.fingerprint,
            stack.texture_bits,
            stack.api_keys[_SITE],
            images=stack.images,
            ring=soak.ring,
        )
        samples: list[Sample] = []

        def take(sample: Sample) -> None:
            samples.append(sample)
            print(json.dumps({"bench": "sample", "patches": 0, **sample.line()}), flush=True)
            if len(samples) % 60 == 0:
                memory = f"service {sample.service_pss_mib:.0f} MiB"
                print(f"soak: {sample.at_s / 60:.0f} min, {memory}", file=sys.stderr, flush=True)

        with SiteProcess(site) as process:
            process.begin(_FILL, time.monotonic())
            process.result()
            sampler = Sampler(stack, folder)
            with sampler.every(soak.interval_s, take):
                load = Load(RATES, PATIENCE_S, soak.seconds, settle_s=0, seed=1)
                process.begin(load, time.monotonic())
                answered = process.result()
        report = Report(samples, trends(samples, soak.limits), answered, _left_over(stack))
    _say(report)
    return report


def _left_over(stack: Stack) -> dict[str, float]:
    """Wait for what was under way to end; return what has not."""
    deadline = time.monotonic() + _QUIET_S
    while True:
        with urllib.request.urlopen(stack.service.metrics_url, timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        left = {
            f"{one.name}{one.labels or ''}": one.value
            for family in families
            for one in family.samples
            if one.name in _IDLE and one.value
        }
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.5)


def _say(report: Report) -> None:
    for trend in report.trends:
        say(
            "trend",
            trend.growth,
            trend.limit.unit,
            measure=trend.limit.measure,
            title=trend.limit.title,
            typical=round(trend.typical, 2),
            least=trend.least,
            most=trend.most,
            per_hour=round(trend.per_hour, 2),
            allowed=round(trend.allowed, 2),
            flat=trend.flat,
        )
    for kind, tally in report.answered.tallies.items():
        facts: dict[str, Any] = {
            "outcomes": dict(tally.outcomes),
            "answered_ms": quantiles_ms(tally.answered_us),
        }
        say("calls", tally.offered, "calls", kind=kind, **facts)
    say("left over", len(report.left_over), "gauges", found=report.left_over)
    say("faults", len(report.faults), "faults", found=report.faults)
