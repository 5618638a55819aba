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


class NeverSaturatedError(Exception):
    """The service followed up to the greatest rate that was tried, or not even at the least."""


def find_saturation(
    measure: Callable[[float], Step],
    *,
    start: float,
    growth: float = 1.6,
    halvings: int = 2,
    most_steps: int = 12,
) -> float:
    """Raise the rate until goodput stops following, then close in on where it does.

    Args:
        measure: Puts on a load of a rate.
        start: The first rate; where it is too much already, lower ones are tried.
        growth: From one step to the next.
        halvings: Steps between the last rate that was followed and the first that was not.
        most_steps: On the way up, or down.

    Returns:
        The greatest rate that was followed.

    Raises:
        NeverSaturatedError: There is no such rate within so many steps.
    """
    tried: list[float] = []

    def follows(rate: float) -> bool:
        tried.append(rate)
        return measure(rate).follows

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
        rates = ", ".join(f"{rate:.3g}" for rate in tried)
        found = "followed none" if high else "followed every one"
        raise NeverSaturatedError(f"of the rates {rates} calls/s the service {found}")
    for _ in range(halvings):
        middle = sqrt(low * high)
        if follows(middle):
            low = middle
        else:
            high = middle
    return low
