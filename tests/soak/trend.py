"""Does it grow? A robust slope over the samples after warming up, against limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from scipy.stats import theilslopes
from tests.soak.sampling import Sample

WARM_UP_SHARE = 1 / 3
"""Of a run: pools and caches fill, the ring of slides comes round, allocators keep what they
were given."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much something may grow from the end of the warm-up to the end of the run."""

    measure: str
    """Name in a sample."""
    title: str
    unit: str
    absolute: float
    """In the measure's unit."""
    relative: float = 0.0
    """As a share of the median; the greater of the two counts."""

    def of(self, typical: float) -> float:
        """Return the limit for a measure of that size."""
        return max(self.absolute, self.relative * typical)


@dataclass(frozen=True, slots=True)
class Trend:
    """What became of one measure."""

    limit: Limit
    typical: float
    """Median after the warm-up."""
    least: float
    most: float
    growth: float
    """By the slope, over the time after the warm-up."""
    per_hour: float
    allowed: float

    @property
    def flat(self) -> bool:
        """Whether it grew no more than it may."""
        return self.growth <= self.allowed


FULL_LIMITS = (
    Limit("service_pss_mib", "memory of the service (PSS)", "MiB", 16, 0.03),
    Limit("service_rss_mib", "memory of the service (RSS)", "MiB", 16, 0.03),
    Limit("service_fds", "open files of the service", "files", 3),
    # Pools make a thread when none of theirs is idle, up to a bound of six.
    Limit("service_threads", "threads of the service", "threads", 4),
    Limit("triton_pss_mib", "memory of Triton (PSS)", "MiB", 32, 0.03),
    Limit("triton_rss_mib", "memory of Triton (RSS)", "MiB", 32, 0.03),
    Limit("triton_fds", "open files of Triton", "files", 3),
    Limit("triton_threads", "threads of Triton", "threads", 1),
    Limit("shm_mib", "shared memory", "MiB", 1),
    Limit("store_mib", "store on disk", "MiB", 4, 0.05),
)
"""For runs of ten minutes and more."""
SHORT_LIMITS = tuple(
    Limit(limit.measure, limit.title, limit.unit, absolute, relative)
    for limit in FULL_LIMITS
    for absolute, relative in [
        (192.0, 0.5) if limit.unit == "MiB" and "memory of" in limit.title else
        (64.0, 0.0) if limit.unit == "MiB" else
        (8.0, 0.0)
    ]
)  # fmt: skip
"""For a run of a minute, in which much is still warming up."""


def trends(samples: Sequence[Sample], limits: Sequence[Limit]) -> list[Trend]:
    """Judge every measure that has a limit.

    Raises:
        ValueError: There are too few samples after the warm-up to say anything.
    """
    begin_s = samples[0].at_s + WARM_UP_SHARE * (samples[-1].at_s - samples[0].at_s)
    kept = [sample for sample in samples if sample.at_s >= begin_s]
    if len(kept) < 10:
        raise ValueError(f"{len(kept)} samples after the warm-up say nothing: ten are needed")
    times = [sample.at_s for sample in kept]
    span_s = times[-1] - times[0]
    found = []
    for limit in limits:
        values = [float(getattr(sample, limit.measure)) for sample in kept]
        # The median of the slopes between any two samples: what a few odd ones say is not heard.
        slope = float(theilslopes(values, times).slope)
        typical = median(values)
        found.append(
            Trend(
                limit,
                typical=typical,
                least=min(values),
                most=max(values),
                growth=slope * span_s,
                per_hour=slope * 3600,
                allowed=limit.of(typical),
            )
        )
    return found
