"""When calls are to start: by rate, whatever becomes of the calls before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Arrival:
    """One call that is to be made."""

    at_s: float
    """From the begin of the load."""
    kind: str
    """What is asked."""


def poisson(rates: Mapping[str, float], seconds: float, seed: int) -> list[Arrival]:
    """Draw arrivals of a Poisson process, as those of many callers who know nothing of each other.

    Args:
        rates: Calls a second of each kind.
        seconds: How long they go on.
        seed: The same one draws the same arrivals.
    """
    random = np.random.default_rng(seed)
    total = sum(rates.values())
    # Given their number, the arrivals of a Poisson process lie anywhere with the same chance.
    times = np.sort(random.uniform(0, seconds, random.poisson(total * seconds)))
    shares = [rate / total for rate in rates.values()]
    kinds = random.choice(list(rates), len(times), p=shares)
    return [Arrival(float(at_s), str(kind)) for at_s, kind in zip(times, kinds, strict=True)]
