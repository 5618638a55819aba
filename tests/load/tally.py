"""What became of the calls of a load: counts by outcome, latencies in histograms that add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hdrh.histogram import HdrHistogram

_MOST_US = 600_000_000
_DIGITS = 3
QUANTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9, "max": 100.0}
OK = "OK"


def histogram() -> HdrHistogram:
    """Make an empty histogram of times from a microsecond to ten minutes."""
    return HdrHistogram(1, _MOST_US, _DIGITS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one call ended."""

    code: str = OK
    """Its status code."""
    reason: str = ""
    """The reason in its ErrorInfo."""
    retry_after_s: float | None = None
    """What its RetryInfo says."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One call in time, in seconds from the begin of the load."""

    kind: str
    intended_s: float
    started_s: float
    ended_s: float
    outcome: Outcome

    @property
    def latency_s(self) -> float:
        """From the moment it was to start: a call that had to wait for the generator waited."""
        return self.ended_s - self.intended_s

    @property
    def lag_s(self) -> float:
        """How much later than intended it was started."""
        return self.started_s - self.intended_s


@dataclass
class Tally:
    """Calls of one kind within a window of time."""

    begin_s: float
    """Where the window begins; what comes before only fills the queues."""
    end_s: float
    offered: int = 0
    """Calls that were to start within the window."""
    good: int = 0
    """Calls answered within the window, whenever they started."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Of the calls that were to start within the window: code and reason."""
    refused: int = 0
    """Of them, those with RESOURCE_EXHAUSTED or UNAVAILABLE."""
    refused_with_retry: int = 0
    """Of those, the ones whose RetryInfo says when to come again."""
    answered_us: HdrHistogram = field(default_factory=histogram)
    """Latencies of calls answered."""
    refused_us: HdrHistogram = field(default_factory=histogram)
    """Latencies of calls refused."""
    lag_us: HdrHistogram = field(default_factory=histogram)
    """How late calls were started."""

    def add(self, call: Passage) -> None:
        """Count a call."""
        outcome = call.outcome
        if outcome.code == OK and self.begin_s <= call.ended_s < self.end_s:
            self.good += 1
        if not self.begin_s <= call.intended_s < self.end_s:
            return
        self.offered += 1
        self.outcomes[f"{outcome.code} {outcome.reason}".strip()] += 1
        self.lag_us.record_value(_us(call.lag_s))
        if outcome.code == OK:
            self.answered_us.record_value(_us(call.latency_s))
        elif outcome.code in {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}:
            self.refused += 1
            self.refused_with_retry += outcome.retry_after_s is not None
            self.refused_us.record_value(_us(call.latency_s))

    def merge(self, other: Tally) -> None:
        """Take in what another process counted."""
        self.offered += other.offered
        self.good += other.good
        self.outcomes.update(other.outcomes)
        self.refused += other.refused
        self.refused_with_retry += other.refused_with_retry
        for mine, others in (
            (self.answered_us, other.answered_us),
            (self.refused_us, other.refused_us),
            (self.lag_us, other.lag_us),
        ):
            mine.add(others)

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return self.end_s - self.begin_s

    @property
    def offered_per_s(self) -> float:
        """Calls that were to start, a second."""
        return self.offered / self.seconds

    @property
    def good_per_s(self) -> float:
        """Goodput: calls answered in time, a second."""
        return self.good / self.seconds

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values, histograms in HdrHistogram's own encoding."""
        return {
            "begin_s": self.begin_s,
            "end_s": self.end_s,
            "offered": self.offered,
            "good": self.good,
            "outcomes": dict(self.outcomes),
            "refused": self.refused,
            "refused_with_retry": self.refused_with_retry,
            "answered_us": self.answered_us.encode().decode(),
            "refused_us": self.refused_us.encode().decode(),
            "lag_us": self.lag_us.encode().decode(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Tally:
        """Read what ``to_json`` made."""
        histograms = ("answered_us", "refused_us", "lag_us")
        return cls(
            **{
                **values,
                "outcomes": Counter(values["outcomes"]),
                **{name: HdrHistogram.decode(values[name]) for name in histograms},
            }
        )


def quantiles_ms(times_us: HdrHistogram) -> dict[str, float]:
    """Return a histogram's quantiles in milliseconds; none where it is empty."""
    if not times_us.get_total_count():
        return {}
    return {
        name: round(times_us.get_value_at_percentile(at) / 1000, 2)
        for name, at in QUANTILES.items()
    }


def _us(seconds: float) -> int:
    return min(max(round(seconds * 1e6), 1), _MOST_US)
