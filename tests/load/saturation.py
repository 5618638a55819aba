"""Finding the rate at which a service can no longer follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

FOLLOWS = 0.9
"""Answered in time, of what was asked: below this the service does not follow. Calls that cross the
borders of a window of seconds make a few hundredths of noise."""


@dataclass(frozen=True, slots=True)
class Step:
    """What came of one rate."""

    rate: float
    """Calls a second that were aimed at."""
    offered: float
    """Calls a second that chance drew."""
    goodput: float
    """Calls a second that were answered in time."""

    @property
    def follows(self) -> bool:
        """Whether the service did what was asked."""
        return self.goodput >= FOLLOWS * self.offered


@dataclass(frozen=True, slots=True)
class Saturation:
    """Where a service's goodput stops following what is asked."""

    rate: float
    """The greatest rate that was followed."""
    goodput: float
    """The greatest goodput of all steps: what the service can do."""
    steps: tuple[Step, ...]
    """In the order they were measured."""


class NeverSaturatedError(Exception):
    """The service followed up to the greatest rate that was tried, or not even at the least."""


def find_saturation(
    measure: Callable[[float], Step],
    *,
    start: float,
    growth: float = 1.6,
    halvings: int = 2,
    most_steps: int = 12,
) -> Saturation:
    """Raise the rate until goodput stops following, then close in on where it does.

    Args:
        measure: Puts on a load of a rate.
        start: The first rate; where it is too much already, lower ones are tried.
        growth: From one step to the next.
        halvings: Steps between the last rate that was followed and the first that was not.
        most_steps: On the way up, or down.

    Raises:
        NeverSaturatedError: There is no such rate within so many steps.
    """
    steps: list[Step] = []

    def follows(rate: float) -> bool:
        steps.append(measure(rate))
        return steps[-1].follows

    low = high = 0.0
    rate = start
    for _ in range(most_steps):
        if follows(rate):
            low = rate
            if high:
                break
            rate *= growth
        else:
            high = rate
            if low:
                break
            rate /= growth
    if not low or not high:
        tried = ", ".join(f"{step.rate:.3g}" for step in steps)
        found = "followed none" if high else "followed every one"
        raise NeverSaturatedError(f"of the rates {tried} calls/s the service {found}")
    for _ in range(halvings):
        middle = sqrt(low * high)
        if follows(middle):
            low = middle
        else:
            high = middle
    return Saturation(low, max(step.goodput for step in steps), tuple(steps))
