from __future__ import annotations

import pytest

from slidekin import (
    CallCancelledError,
    InvalidRequestError,
    NotFoundError,
    ResourceExhaustedError,
    Retry,
    ServiceError,
    UnavailableError,
)
from slidekin._retry import Attempts


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def _attempts(retry: Retry, timeout_s: float, clock: Clock) -> Attempts:
    return Attempts(retry, timeout_s, clock=clock, draw=lambda _low, high: high)


def _error(kind: type[ServiceError], retry_after_s: float | None = None) -> ServiceError:
    return kind("away", code="X", retry_after_s=retry_after_s)


def test_pauses_double_up_to_their_ceiling_and_attempts_end():
    attempts = _attempts(Retry(attempts=5, initial_backoff_s=1, max_backoff_s=3), 100, Clock())
    pauses = [attempts.pause_s(_error(UnavailableError)) for _ in range(6)]
    assert pauses == [1, 2, 3, 3, None, None]


def test_what_the_service_asks_for_is_waited_at_least():
    attempts = _attempts(Retry(initial_backoff_s=1), 100, Clock())
    assert attempts.pause_s(_error(UnavailableError, 7.5)) == 8.5


def test_refusals_with_a_time_to_come_back_are_put_up_with_beyond_the_attempts():
    attempts = _attempts(Retry(attempts=2, refusals=4, initial_backoff_s=1), 100, Clock())
    refused = _error(ResourceExhaustedError, 2.0)
    assert [attempts.pause_s(refused) for _ in range(4)] == [3, 4, 6, None]
    assert attempts.pause_s(_error(UnavailableError)) == 1
    assert attempts.pause_s(_error(UnavailableError)) is None


def test_one_attempt_means_one():
    attempts = _attempts(Retry(attempts=1), 100, Clock())
    assert attempts.pause_s(_error(UnavailableError, 1.0)) is None


def test_no_pause_outlasts_the_budget():
    clock = Clock()
    attempts = _attempts(Retry(initial_backoff_s=1), 10, clock)
    assert attempts.pause_s(_error(UnavailableError, 20)) is None
    assert attempts.pause_s(_error(UnavailableError)) == 1
    clock.now += 9.5
    assert attempts.remaining_s() == pytest.approx(0.5)
    assert attempts.pause_s(_error(UnavailableError)) is None


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (_error(UnavailableError), True),
        (_error(CallCancelledError), True),
        (_error(ResourceExhaustedError, 0.5), True),
        (_error(ResourceExhaustedError), False),
        (_error(InvalidRequestError), False),
        (_error(NotFoundError), False),
    ],
)
def test_only_what_passes_is_tried_again(error: ServiceError, *, again: bool):
    assert (_attempts(Retry(), 100, Clock()).pause_s(error) is not None) is again
