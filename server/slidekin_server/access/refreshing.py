"""Looks again, while the service runs, at what is kept in files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol


class Refreshed(Protocol):
    """Something that follows files."""

    def refresh(self) -> None:
        """Look at them again. Blocks; never raises."""


async def refresh_every(interval_s: float, followers: Sequence[Refreshed]) -> None:
    """Have all look at their files, in a thread, until cancelled."""
    while True:
        await asyncio.sleep(interval_s)
        for follower in followers:
            await asyncio.to_thread(follower.refresh)
