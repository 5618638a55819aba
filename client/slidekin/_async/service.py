"""The methods about the service itself: its state, and snapshots of its store."""

from __future__ import annotations

from slidekin import _calls
from slidekin._async.methods import AsyncMethods
from slidekin._types import Snapshot, Status


class AsyncServiceMethods(AsyncMethods):
    """The calls about the service itself: its state, and snapshots of its store, awaited."""

    async def status(self) -> Status:
        """What the service serves, in which state, and within which limits."""
        return await self._caller.call(_calls.get_status())

    async def create_snapshot(
        self, *, keep_count: int | None = None, timeout_s: float | None = None
    ) -> Snapshot:
        """Makes a checked copy of the service's store, while the store is in use.

        See `Client.create_snapshot`.
        """
        return await self._caller.call(_calls.create_snapshot(keep_count), timeout_s)

    async def list_snapshots(self) -> list[Snapshot]:
        """The service's snapshots, newest first. See `Client.list_snapshots`."""
        return await self._caller.call(_calls.list_snapshots())

    async def check_snapshot(self, snapshot: str, *, timeout_s: float | None = None) -> Snapshot:
        """Checks every byte of a snapshot, on the service. See `Client.check_snapshot`."""
        return await self._caller.call(_calls.check_snapshot(snapshot), timeout_s)
