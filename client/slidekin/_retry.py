"""When a call may be made again, and after which pause. Pure: the clients do the waiting."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from slidekin._exceptions import (
    CallCancelledError,
    ResourceExhaustedError,
    ServiceError,
    UnavailableError,
)
from slidekin._types import Retry


class Attempts:
    """The attempts of one call under one time budget.

    Args:
        retry: How often and after which pauses.
        timeout_s: The budget for all attempts and pauses, in seconds.
        clock: Monotonic seconds.
        draw: Draws a number between its two arguments.
    """

    def __init__(
        self,
        retry: Retry,
        timeout_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._retry = retry
        self._clock = clock
        self._draw = draw
        self._end = clock() + timeout_s
        self._made = 1
        self._refused = 1

    def remaining_s(self) -> float:
        """What is left of the budget; never less than a millisecond."""
        return max(self._end - self._clock(), 0.001)

    def pause_s(self, error: ServiceError) -> float | None:
        """The pause before the next attempt, or None where the error is final."""
        if self._retry.attempts <= 1 or not _passing(error):
            return None
        # A service that says when to come back is there, and means it.
        told = error.retry_after_s is not None
        made, most = (
            (self._refused, self._retry.refusals) if told else (self._made, self._retry.attempts)
        )
        if made >= most:
            return None
        ceiling = min(self._retry.max_backoff_s, self._retry.initial_backoff_s * 2 ** (made - 1))
        pause = self._draw(0.0, ceiling)
        if error.retry_after_s is not None:
            # What the service asks for is a floor; the jitter on top keeps clients apart.
            pause += error.retry_after_s
        if pause >= self._end - self._clock():
            return None
        if told:
            self._refused += 1
        else:
            self._made += 1
        return pause


def _passing(error: ServiceError) -> bool:
    """Tells whether the same call may go well a moment later."""
    if isinstance(error, ResourceExhaustedError):
        return error.retry_after_s is not None  # a full queue, not a limit
    # A service that stops cancels the calls it has not accepted yet.
    return isinstance(error, UnavailableError | CallCancelledError)
