"""Waiting for what a test cannot be told of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Look again and again; the test's time-out is the limit."""
    while not condition():  # noqa: ASYNC110 -- a metric or a log line raises no event
        await asyncio.sleep(0.01)
