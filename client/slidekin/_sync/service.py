"""The methods about the service itself: its state, and snapshots of its store."""

from __future__ import annotations

from slidekin import _calls
from slidekin._sync.methods import Methods
from slidekin._types import Snapshot, Status


class ServiceMethods(Methods):
    """The calls about the service itself: its state, and snapshots of its store."""

    def status(self) -> Status:
        """What the service serves, in which state, and within which limits."""
        return self._caller.call(_calls.get_status())

    def create_snapshot(
        self, *, keep_count: int | None = None, timeout_s: float | None = None
    ) -> Snapshot:
        """Makes a checked copy of the service's store, while the store is in use.

        Args:
            keep_count: How many snapshots to keep, the new one among them: once it is good, the
                oldest beyond so many are removed. None: all are kept.
            timeout_s: How long it may take. A store of 1 GB takes about ten seconds. None: as long
                as a search.

        Raises:
            ResourceExhaustedError: The service's disk is full.
        """
        return self._caller.call(_calls.create_snapshot(keep_count), timeout_s)

    def list_snapshots(self) -> list[Snapshot]:
        """The service's snapshots, newest first, as their manifests describe them."""
        return self._caller.call(_calls.list_snapshots())

    def check_snapshot(self, snapshot: str, *, timeout_s: float | None = None) -> Snapshot:
        """Checks every byte of a snapshot, on the service.

        Args:
            snapshot: Its name.
            timeout_s: How long it may take. None: as long as a search.

        Raises:
            InternalError: It is damaged.
            NotFoundError: There is none of that name.
        """
        return self._caller.call(_calls.check_snapshot(snapshot), timeout_s)
