"""Connections to one SQLite file: one writer, any number of readers, one service at a time."""

from __future__ import annotations

import collections
import contextlib
import errno
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from slidekin_server.failpoints import Failpoint, failpoint
from slidekin_server.storage.disk import FolderLock, Reserve, sync_folder
from slidekin_server.storage.errors import (
    DamagedStoreError,
    StorageError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from slidekin_server.storage.mark import check_complete, mark
from slidekin_server.storage.sqlite_schema import FILE_NAME, prepare

_BUSY_TIMEOUT_MS = 5000


class Connections:
    """Transactions on the store's file, with SQLite's errors translated."""

    def __init__(self, folder: Path, synchronous: Literal["full", "normal"]) -> None:
        self._file = folder / FILE_NAME
        self._write_lock = threading.Lock()
        self._readers: collections.deque[sqlite3.Connection] = collections.deque()
        # The last service may have been killed between a deletion and the emptying of the log.
        self._erasure_pending = True
        self._closed = False
        self._reserve = Reserve(folder)
        with self._translated():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = FolderLock(folder)
        try:
            with self._translated():
                self._open(synchronous)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, synchronous: Literal["full", "normal"]) -> None:
        check_complete(self._file)
        is_new = not self._file.exists()
        # Even a start needs some space: for the log's index.
        self._reserve.lend()
        self._writer = self._connect()
        # Deleted data must be gone: freed space is overwritten.
        self._writer.execute("PRAGMA secure_delete = ON")
        self._writer.execute(f"PRAGMA synchronous = {synchronous}")
        self._writer.execute("PRAGMA foreign_keys = ON")
        prepare(self._writer, self._file)
        self._writer.execute("PRAGMA journal_mode = WAL")
        if is_new:
            sync_folder(self._file.parent)
            sync_folder(self._file.parent.parent)
            failpoint(Failpoint.STORE_CREATED)
        self._identity = _identity(self._file)
        failpoint(Failpoint.STORE_OPENED)
        # Reading creates the log's file if there is none.
        self._writer.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        self._empty_log()
        mark(self._file, in_use=True)
        self._reserve.restore()

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of the store, while others may write.

        Fetch all rows at once: an unfinished cursor, even one that only the traceback of a kept
        error refers to, holds on to that state past the end of the transaction.
        """
        with self._translated():
            self._require_open()
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self._connect()
                connection.execute("PRAGMA query_only = ON")
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._readers.append(connection)

    @contextlib.contextmanager
    def write(self, *, erase: bool = False, frees: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction that changes the store: on disk when the block ends, or not at all.

        Args:
            erase: Also remove deleted data from the write-ahead log.
            frees: The transaction only deletes: on a full disk it may use the reserved space.
        """
        with self._write_lock, self._translated():
            self._require_open()
            if frees:
                self._reserve.lend()
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                failpoint(Failpoint.BEFORE_COMMIT)
                self._require_in_place()
                self._writer.execute("COMMIT")
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
            failpoint(Failpoint.AFTER_COMMIT)
            self._erasure_pending |= erase
            if self._erasure_pending:
                failpoint(Failpoint.BEFORE_ERASURE)
                self._empty_log()
            self._reserve.restore()

    def close(self) -> None:
        """Close every connection, empty the log and release the folder."""
        with self._write_lock, self._translated():
            if self._closed:
                return
            self._closed = True
            # The mark first: once the log is gone, a mark that requires it refuses the next start.
            mark(self._file, in_use=False)
            while self._readers:
                self._readers.pop().close()
            # The last connection to close writes the log back into the file and deletes it.
            self._writer.close()
            self._lock.release()

    def _require_open(self) -> None:
        # Without the folder's lock a connection could meet another service's.
        if self._closed:
            raise StoreUnavailableError(self._file, "it was closed")

    def _require_in_place(self) -> None:
        # A moved or deleted file accepts changes while it is open, and they are lost afterwards.
        if _identity(self._file) != self._identity:
            raise StoreUnavailableError(self._file, "it was moved, deleted or replaced")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        # Damaged text must reach the checksum instead of failing earlier.
        connection.text_factory = lenient_text
        return connection

    def _empty_log(self) -> None:
        """Write the log back and truncate it; readers may delay that until the next write.

        The change itself is already on disk, so a failure here must not look like its failure.
        """
        with contextlib.suppress(sqlite3.Error):
            busy, *_ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._erasure_pending = bool(busy)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn errors of SQLite and of the file system into the store's."""
        with os_errors(self._file):
            try:
                yield
            except sqlite3.IntegrityError:
                raise  # a violated constraint of our own tables: a bug, not the disk
            except sqlite3.Error as error:
                raise translation(error, self._file) from error


@contextlib.contextmanager
def os_errors(file: Path) -> Iterator[None]:
    """Turn errors of the file system into the store's."""
    try:
        yield
    except PermissionError as error:
        raise StoreReadOnlyError(file) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFullError(file) from error
        if error.errno == errno.EROFS:
            raise StoreReadOnlyError(file) from error
        raise StoreUnavailableError(file, error.strerror or str(error)) from error


def _identity(file: Path) -> tuple[int, int]:
    """What distinguishes a file from another one of the same name."""
    found = file.stat()
    return found.st_dev, found.st_ino


def lenient_text(data: bytes) -> str:
    """Decode any bytes as text, so that checksums can judge them."""
    return data.decode(errors="replace")


def translation(error: sqlite3.Error, file: Path) -> StorageError:
    """Return the store's error for one of SQLite's."""
    # The low byte is the kind of error; the rest are details.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreFullError(file)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StoreReadOnlyError(file)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedStoreError(file, str(error))
    return StoreUnavailableError(file, str(error))
