"""The mark: a small file that says which files of a store must exist.

SQLite creates a missing database and treats a missing log as empty. Both are right for a new store.
In an existing one they would silently lose every slide, or the latest ones.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from slidekin_server.storage.disk import overwrite_durably, write_durably
from slidekin_server.storage.errors import DamagedStoreError

MARK_NAME = "slidekin.store"
_OPEN = b"A store of slidekin, in use: the database and its -wal file belong together.\n"
_CLOSED = (
    b"A store of slidekin, closed: the database holds everything.".ljust(len(_OPEN) - 1) + b"\n"
)
# Both have the same length: changing one to the other needs no space, which a full disk lacks.


def check_complete(database: Path) -> None:
    """Refuse a folder that lacks a file.

    Raises:
        DamagedStoreError: The database is missing or empty, or its log is missing.
    """
    try:
        state = (database.parent / MARK_NAME).read_bytes()
    except FileNotFoundError:
        return
    if not database.exists():
        raise DamagedStoreError(database, "it is missing")
    if not database.stat().st_size:
        raise DamagedStoreError(database, "it is empty")
    log = database.with_name(f"{database.name}-wal")
    if state == _OPEN and not log.exists():
        raise DamagedStoreError(log, "it is missing, and with it the latest changes")


def mark(database: Path, *, in_use: bool) -> None:
    """Record which files must exist from now on. Call this while the log exists."""
    file = database.parent / MARK_NAME
    content = _OPEN if in_use else _CLOSED
    try:
        if not file.exists():
            write_durably(file, content)
        elif file.read_bytes() != content:
            overwrite_durably(file, content)
    except OSError:
        # A mark that requires a log which is about to be deleted would refuse the next start.
        if not in_use:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
