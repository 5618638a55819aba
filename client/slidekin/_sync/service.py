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

    def create_snapshot(self, *, timeout_s: float | None = None) -> Snapshot:
        """Has the service copy its store, while it is in use, and check the copy.

        Args:
            timeout_s: None: as for a search. A store of 1 GB takes about ten seconds.

        Raises:
            ResourceExhaustedError: The service's disk is full.
        """
        return self._caller.call(_calls.create_snapshot(), timeout_s)

    def list_snapshots(self) -> list[Snapshot]:
        """The service's snapshots, newest first, as their manifests tell."""
        return self._caller.call(_calls.list_snapshots())

    def check_snapshot(self, snapshot: str, *, timeout_s: float | None = None) -> Snapshot:
        """Has the service look at every byte of a snapshot.

        Args:
            snapshot: Its name.
            timeout_s: None: as for a search.

        Raises:
            InternalError: It is damaged.
            NotFoundError: There is none of that name.
        """
        return self._caller.call(_calls.check_snapshot(snapshot), timeout_s)
