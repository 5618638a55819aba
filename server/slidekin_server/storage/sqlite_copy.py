"""Copies of a SQLite store, and checks of a store that is not being served."""

# ruff: noqa: S608 -- only constants of this package are put into statements; values are bound

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from slidekin_server.failpoints import Failpoint, failpoint
from slidekin_server.storage.disk import sync_file
from slidekin_server.storage.errors import DamagedSlideError, DamagedStoreError
from slidekin_server.storage.sqlite_connections import lenient_text, translation
from slidekin_server.storage.sqlite_queries import HeldCollection, select_stored
from slidekin_server.storage.sqlite_rows import COLLECTION_COLUMNS, collection_record
from slidekin_server.storage.sqlite_schema import require_ours

_PAGES_A_STEP = 16
"""64 KiB: between two steps other threads get their turn."""
_SLIDES_A_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Survey:
    """What a store holds, after every slide's checksums were checked."""

    schema: int
    sequence: int
    """Of the latest change that it holds."""
    collection_count: int
    slide_count: int
    """Damaged ones included."""
    patch_count: int
    """Of the slides that are not damaged."""
    damaged: tuple[DamagedSlideError, ...]


def copy_database(source: sqlite3.Connection, file: Path) -> None:
    """Copy the state that an open read transaction sees into a new file, durably.

    Raises:
        StoreFullError: There is no space for the copy.
    """
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as target:
            # It is synced as a whole below, and deleted if anything fails before.
            target.execute("PRAGMA synchronous = OFF")
            source.backup(
                target,
                pages=_PAGES_A_STEP,
                progress=lambda *_: failpoint(Failpoint.SNAPSHOT_COPYING),
            )
            # The source's header asks for a log; a copy stands alone and is read where nothing
            # can be written.
            target.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise translation(error, file) from error
    sync_file(file)


def survey_file(file: Path) -> Survey:
    """Check every page and every slide of a database that nobody changes.

    Raises:
        DamagedStoreError: The database is broken, or not a store of slidekin.
        NewerSchemaError: A newer version of the service wrote it.
    """
    with _unchanging(file) as connection:
        try:
            require_ours(connection, file)
            (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise DamagedStoreError(file, verdict.partition("\n")[0])
            return _survey(connection)
        except sqlite3.Error as error:
            raise translation(error, file) from error


def _survey(connection: sqlite3.Connection) -> Survey:
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    (sequence,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM changes").fetchone()
    collections = connection.execute(f"SELECT id, {COLLECTION_COLUMNS} FROM collections").fetchall()
    slides = patches = 0
    damaged: list[DamagedSlideError] = []
    for row in collections:
        held = HeldCollection(row[0], collection_record(row[1:]))
        after, more = 0, True
        while more:
            chunk = select_stored(connection, held, "s.number > ?", after, limit=_SLIDES_A_CHUNK)
            for slide in chunk:
                if isinstance(slide, DamagedSlideError):
                    damaged.append(slide)
                    after = slide.number
                else:
                    patches += slide.record.patch_count
                    after = slide.record.number
            slides += len(chunk)
            more = len(chunk) == _SLIDES_A_CHUNK
    return Survey(schema, sequence, len(collections), slides, patches, tuple(damaged))


@contextlib.contextmanager
def _unchanging(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection that takes no locks and writes nothing, not even beside the file."""
    address = f"file:{quote(str(file.absolute()))}?mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(address, uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise translation(error, file) from error
    connection.text_factory = lenient_text
    with contextlib.closing(connection):
        yield connection
