"""Snapshots of the archive, made by the running service."""

from __future__ import annotations

import contextlib

from slidekin_server.storage import DamagedSnapshotError, Snapshot, Snapshots, StorageError, Store
from slidekin_server.telemetry import Metrics, get_logger

_log = get_logger(__name__)


class Backup:
    """The snapshots of one store."""

    def __init__(self, store: Store, snapshots: Snapshots, metrics: Metrics) -> None:
        self._store = store
        self._snapshots = snapshots
        self._metrics = metrics
        for name in snapshots.names():
            with contextlib.suppress(DamagedSnapshotError):
                self._tell(snapshots.read(name))
                break

    @property
    def snapshots(self) -> Snapshots:
        """The folder of snapshots."""
        return self._snapshots

    def create(self, keep_count: int = 0) -> tuple[Snapshot, list[str]]:
        """Make a snapshot; blocks, while searches and changes continue.

        Args:
            keep_count: How many snapshots to keep, including the new one; 0: all.

        Returns:
            The new snapshot, and the names of the older ones that were removed, oldest first.

        Raises:
            StorageError: No snapshot was made; nothing is left of the attempt, and all others
                stay.
        """
        snapshot = self._snapshots.create(self._store)
        self._tell(snapshot)
        _log.info(
            "snapshot made",
            snapshot=snapshot.name,
            sequence=snapshot.sequence,
            slides=snapshot.slide_count,
            size_bytes=snapshot.size_bytes,
        )
        return snapshot, self._remove_old(snapshot, keep_count) if keep_count else []

    def _remove_old(self, newest: Snapshot, keep_count: int) -> list[str]:
        try:
            removed = self._snapshots.remove_old(newest, keep_count)
        except StorageError as error:
            # The new one exists and is good, which is what the caller asked for.
            _log.error("old snapshots cannot be removed", problem=type(error).__name__)
            return []
        if removed:
            _log.info("old snapshots removed", count=len(removed))
        return removed

    def _tell(self, snapshot: Snapshot) -> None:
        self._metrics.snapshot_time.set(snapshot.create_time.timestamp())
