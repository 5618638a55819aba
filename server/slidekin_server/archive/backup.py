"""Snapshots of the archive, as the running service makes them."""

from __future__ import annotations

import contextlib

from slidekin_server.storage import DamagedSnapshotError, Snapshot, Snapshots, Store
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
        """What there is."""
        return self._snapshots

    def create(self) -> Snapshot:
        """Make a snapshot; blocks, while searches and changes go on.

        Raises:
            StorageError: There is none; nothing is left of the attempt.
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
        return snapshot

    def _tell(self, snapshot: Snapshot) -> None:
        self._metrics.snapshot_time.set(snapshot.create_time.timestamp())
