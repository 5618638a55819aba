"""What to do about a store that is broken or gone: say so, and name the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from slidekin_server.storage.disk import FolderLock
from slidekin_server.storage.errors import DamagedStoreError, StorageError
from slidekin_server.storage.mark import check_complete
from slidekin_server.storage.snapshots import Snapshots, is_store
from slidekin_server.storage.sqlite import SqliteStore
from slidekin_server.storage.sqlite_copy import Survey, survey_file
from slidekin_server.storage.sqlite_schema import FILE_NAME


class UnusableStoreError(StorageError):
    """The store cannot be used as it is; the message names the newest good snapshot."""


def open_store(
    folder: Path, snapshots: Snapshots, *, synchronous: Literal["full", "normal"]
) -> SqliteStore:
    """Open a store, or make one where there was none.

    The store is the truth: a snapshot is never served in its place, since it may lack slides that
    were acknowledged. Where snapshots are at hand and the store is not, somebody's disk is missing.

    Raises:
        UnusableStoreError: The store is broken or gone.
        StorageError: As `SqliteStore.open`.
    """
    with with_advice(folder, snapshots):
        if not is_store(folder) and snapshots.names():
            raise DamagedStoreError(
                folder / FILE_NAME, f"it is missing, yet {snapshots.folder} holds snapshots"
            )
        return SqliteStore.open(folder, synchronous=synchronous)


@contextlib.contextmanager
def with_advice(folder: Path, snapshots: Snapshots) -> Iterator[None]:
    """Say of a broken store which snapshot could take its place, and how.

    Raises:
        UnusableStoreError: Instead of `DamagedStoreError`.
    """
    try:
        yield
    except DamagedStoreError as error:
        raise UnusableStoreError(_advice(error, folder, snapshots)) from error


def verify_store(folder: Path) -> Survey:
    """Look at every page and every slide of a store that no service has open.

    Raises:
        StoreInUseError: A service has it open.
        DamagedStoreError: It is broken, or there is none.
        NewerSchemaError: A newer version of the service wrote it.
    """
    database = folder / FILE_NAME
    if not is_store(folder):
        raise DamagedStoreError(database, "it is missing")
    # Opened and closed once, so that the log is in the file.
    SqliteStore.open(folder).close()
    lock = FolderLock(folder)
    try:
        check_complete(database)
        return survey_file(database)
    finally:
        lock.release()


def _advice(error: DamagedStoreError, folder: Path, snapshots: Snapshots) -> str:
    problem = f"{error.file} cannot be used ({error.cause})"
    newest = snapshots.newest_good()
    if newest is None:
        return (
            f"{problem}, and {snapshots.folder} holds no good snapshot: bring the file back, or "
            "set storage.path to an empty folder and add the slides again"
        )
    return (
        f"{problem}. Bring the file back if you can: it alone has everything. Else the newest good "
        f"snapshot is {snapshots.folder / newest.name}, with {newest.slide_count} slides as of "
        f"{newest.create_time:%Y-%m-%d %H:%M:%S} UTC: move {folder} away and run "
        f"`slidekin-server restore {snapshots.folder / newest.name} --to {folder}`"
    )
