"""Reloads changed files while the service runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol


class Refreshed(Protocol):
    """Something that depends on files."""

    def refresh(self) -> None:
        """Reload them if they changed. Blocks; never raises."""


async def refresh_every(interval_s: float, followers: Sequence[Refreshed]) -> None:
    """Refresh all of them at an interval, in a thread, until cancelled."""
    while True:
        await asyncio.sleep(interval_s)
        for follower in followers:
            await asyncio.to_thread(follower.refresh)
