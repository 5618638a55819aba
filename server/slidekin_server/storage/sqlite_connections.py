"""Connections to one SQLite file: one writer, any number of readers, one service at a time."""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from .errors import (
    DamagedStoreError,
    StorageError,
    StoreFullError,
    StoreInUseError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from .sqlite_schema import prepare

FILE_NAME = "slidekin.sqlite3"
_LOCK_NAME = "slidekin.lock"
_BUSY_TIMEOUT_MS = 5000


class FolderLock:
    """Keeps other services off a folder; ends with the process, however that ends."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            StoreInUseError: Another process holds it.
        """
        self._descriptor = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(self._descriptor, 32).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise StoreInUseError(folder, pid or "unknown") from None
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let another service in."""
        os.close(self._descriptor)


class Connections:
    """Transactions on the store's file, with SQLite's errors translated."""

    def __init__(self, folder: Path, synchronous: Literal["full", "normal"]) -> None:
        self._file = folder / FILE_NAME
        self._write_lock = threading.Lock()
        self._readers: collections.deque[sqlite3.Connection] = collections.deque()
        self._erasure_pending = False
        self._closed = False
        with self._translated():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = FolderLock(folder)
        try:
            with self._translated():
                self._writer = self._connect()
                # Deleted means gone: freed space is overwritten.
                self._writer.execute("PRAGMA secure_delete = ON")
                self._writer.execute(f"PRAGMA synchronous = {synchronous}")
                self._writer.execute("PRAGMA foreign_keys = ON")
                prepare(self._writer, self._file)
                self._writer.execute("PRAGMA journal_mode = WAL")
        except BaseException:
            self._lock.release()
            raise

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of the store, beside any writer.

        Fetch all rows at once: a cursor left half-way, if only by the traceback of an error that
        someone remembers, holds on to that state past the end of the transaction.
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
    def write(self, *, erase: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction that changes the store: on disk when the block is left, or not at all.

        Args:
            erase: What is deleted must also leave the write-ahead log.
        """
        with self._write_lock, self._translated():
            self._require_open()
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
            self._erasure_pending |= erase
            if self._erasure_pending:
                self._empty_log()

    def close(self) -> None:
        """Close every connection, empty the log and release the folder."""
        with self._write_lock, self._translated():
            if self._closed:
                return
            self._closed = True
            while self._readers:
                self._readers.pop().close()
            # The last connection to close writes the log back into the file and deletes it.
            self._writer.close()
            self._lock.release()

    def _require_open(self) -> None:
        # Without the folder's lock a connection could meet another service's.
        if self._closed:
            raise StoreUnavailableError(self._file, "it was closed")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        # Damaged text must reach the checksum instead of failing on the way.
        connection.text_factory = _lenient_text
        return connection

    def _empty_log(self) -> None:
        """Write the log back and cut it to nothing; readers may put it off to the next write.

        The change itself is on disk by now, so that a failure here must not look like one of it.
        """
        with contextlib.suppress(sqlite3.Error):
            busy, *_ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._erasure_pending = bool(busy)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise  # a broken rule of our own tables: a bug, not the disk
        except sqlite3.Error as error:
            raise _translation(error, self._file) from error
        except PermissionError as error:
            raise StoreReadOnlyError(self._file) from error
        except OSError as error:
            raise StoreUnavailableError(self._file, error.strerror or str(error)) from error


def _lenient_text(data: bytes) -> str:
    return data.decode(errors="replace")


def _translation(error: sqlite3.Error, file: Path) -> StorageError:
    # The low byte is the kind of error, the rest its details.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreFullError(file)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StoreReadOnlyError(file)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedStoreError(file, str(error))
    return StoreUnavailableError(file, str(error))
