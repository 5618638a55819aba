"""Named points at which a test can have the service killed, to prove what survives.

Inert in production: unless ``SLIDEKIN_FAILPOINT`` is set, passing one costs a comparison with
None. Set to ``NAME:N``, the process is ended with SIGKILL at the N-th time it comes by, with no
chance to write, flush or tell anyone: what a power cut leaves to a process. (What it leaves of the
disk's own cache is SQLite's ``synchronous=FULL`` to answer for.)
"""

from __future__ import annotations

import enum
import itertools
import os
import signal
from collections.abc import Mapping

VARIABLE = "SLIDEKIN_FAILPOINT"


class Failpoint(enum.Enum):
    """Every point there is."""

    STORE_CREATED = "start.store-created"
    """A new store's tables are on disk, nothing says yet that they ought to be."""
    STORE_OPENED = "start.store-opened"
    """The store is open, its log not looked at yet."""
    INDEX_LOADING = "start.index-loading"
    """Slides are being read into the index."""
    BEFORE_COMMIT = "store.before-commit"
    """A change is written in full but not committed."""
    BETWEEN_DELETE_AND_INSERT = "store.between-delete-and-insert"
    """Of a slide that is being replaced, the old one is gone and the new one not there."""
    AFTER_COMMIT = "store.after-commit"
    """A change is durable and nobody knows."""
    BEFORE_ERASURE = "store.before-erasure"
    """A deletion is durable, its data still in the write-ahead log."""
    BEFORE_PUBLISH = "archive.before-publish"
    """A change is durable, the index does not have it."""
    AFTER_PUBLISH = "archive.after-publish"
    """A change is durable and visible, the caller was not told."""
    REINDEX_SWAPPING = "reindex.swapping"
    """A draft is taking its collection's place, in part."""
    SNAPSHOT_COPYING = "snapshot.copying"
    """Part of the store has been copied."""
    SNAPSHOT_BEFORE_PUBLISH = "snapshot.before-publish"
    """A snapshot is complete and has no name yet."""
    SNAPSHOT_AFTER_PUBLISH = "snapshot.after-publish"
    """A snapshot is there, the caller was not told."""
    RESTORE_COPYING = "restore.copying"
    """Part of a snapshot has been copied back."""
    RESTORE_BEFORE_PUBLISH = "restore.before-publish"
    """A snapshot has been copied back in full and has no name yet."""


class _Armed:
    """The one point at which this process ends."""

    def __init__(self, setting: str) -> None:
        """Take ``NAME:N``.

        Raises:
            ValueError: There is no such point, or N is no number from 1 up.
        """
        name, _, count = setting.partition(":")
        try:
            self.point, self._fatal = Failpoint(name), int(count)
        except ValueError:
            self._fatal = 0
        if self._fatal < 1:
            names = ", ".join(point.value for point in Failpoint)
            raise ValueError(f"{VARIABLE}={setting!r} must be NAME:N, N from 1, NAME of: {names}")
        self._passes = itertools.count(1)

    def pass_by(self) -> None:
        # next() of a counter is one step under the GIL: threads need no lock.
        if next(self._passes) == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)


def _armed(environment: Mapping[str, str]) -> _Armed | None:
    setting = environment.get(VARIABLE)
    return _Armed(setting) if setting else None


_ARMED = _armed(os.environ)


def failpoint(point: Failpoint) -> None:
    """End the process here if that is what it was told."""
    if _ARMED is not None and _ARMED.point is point:
        _ARMED.pass_by()
