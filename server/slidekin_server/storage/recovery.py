"""A broken or missing store: refuse it, and name the snapshot and command to recover."""

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
    """The store cannot be used; the message names the newest good snapshot."""


def open_store(
    folder: Path, snapshots: Snapshots, *, synchronous: Literal["full", "normal"]
) -> SqliteStore:
    """Open a store, or create it if there was none.

    A snapshot is never served in place of the store, since it may lack acknowledged slides. If
    there are snapshots but no store, a disk is probably not mounted.

    Raises:
        UnusableStoreError: The store is broken or missing.
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
    """Add to the error about a broken store which snapshot could replace it, and how.

    Raises:
        UnusableStoreError: Instead of `DamagedStoreError`.
    """
    try:
        yield
    except DamagedStoreError as error:
        raise UnusableStoreError(_advice(error, folder, snapshots)) from error


def verify_store(folder: Path) -> Survey:
    """Check every page and every slide of a store that no service has open.

    Raises:
        StoreInUseError: A service has it open.
        DamagedStoreError: The store is broken or missing.
        NewerSchemaError: A newer version of the service wrote it.
    """
    database = folder / FILE_NAME
    if not is_store(folder):
        raise DamagedStoreError(database, "it is missing")
    # Open and close it once, so that the log is written into the file.
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
