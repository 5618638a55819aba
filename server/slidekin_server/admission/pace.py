"""How long a thing takes, as lately seen."""

from __future__ import annotations

_WEIGHT = 0.1
"""Of the newest: the last ten or so count."""


class Pace:
    """A mean that forgets."""

    def __init__(self) -> None:
        self._mean_s: float | None = None

    @property
    def mean_s(self) -> float:
        """What it takes; 0 before anything was seen."""
        return self._mean_s or 0.0

    def observe(self, seconds: float) -> None:
        """Count one more."""
        if self._mean_s is None:
            self._mean_s = seconds
        else:
            self._mean_s += _WEIGHT * (seconds - self._mean_s)
