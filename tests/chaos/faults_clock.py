"""A clock that jumps."""

from __future__ import annotations

import datetime as dt
import random
import time

from tests.chaos.clock import why_no_clock
from tests.chaos.fault import EVERYTHING, Fault
from tests.chaos.stack import Stack
from tests.service_calls import FINGERPRINT, TEXTURE_BITS, THRESHOLD_BITS

from slidekin import Client

_FOLLOWS_S = 10.0


class ClockJumps(Fault):
    """The service's time of day is hours off, forward or back, and later right again."""

    name = "clock jumps"
    spares = EVERYTHING
    hold_s = (3.0, 6.0)

    @classmethod
    def why_not(cls, stack: Stack) -> str | None:
        return None if stack.clock is not None else why_no_clock() or "no clock in this run"

    def inject(self, stack: Stack, chance: random.Random) -> str:
        assert stack.clock is not None
        offset = dt.timedelta(hours=chance.choice([-30, -2, 2, 30]))
        stack.clock.set(offset)
        _wait_until_off_by(stack, offset)
        return f"{offset.total_seconds() / 3600:+.0f} h"

    def heal(self, stack: Stack) -> None:
        assert stack.clock is not None
        stack.clock.set(dt.timedelta())
        _wait_until_off_by(stack, dt.timedelta())


def _wait_until_off_by(stack: Stack, offset: dt.timedelta) -> None:
    """Wait until the service itself says so: by the time that it gives a new slide."""
    deadline = time.monotonic() + _FOLLOWS_S
    with stack.client() as client:
        while True:
            seen = _service_time(client) - dt.datetime.now(dt.UTC)
            if abs(seen - offset) < dt.timedelta(minutes=1):
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"the service's clock is off by {seen}, was set to {offset}")
            time.sleep(0.1)


def _service_time(client: Client) -> dt.datetime:
    """The service's time of day: what it notes of something new."""
    name = f"clock-{time.monotonic_ns()}"
    made = client.create_collection(
        name,
        model_fingerprint=FINGERPRINT,
        texture_bits=TEXTURE_BITS,
        hamming_threshold_bits=THRESHOLD_BITS,
    )
    client.delete_collection(name)
    assert made.create_time is not None
    return made.create_time
