"""Folders and files of the store: one owner, durable names, some reserved space."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from slidekin_server.storage.errors import StoreInUseError

LOCK_NAME = "slidekin.lock"
RESERVE_NAME = "slidekin.reserve"
RESERVE_BYTES = 8 * 1024 * 1024
"""Deleting a slide writes about its own size to the log; with pictures that is a lot."""
_LEAST_RESERVE_BYTES = 256 * 1024


class FolderLock:
    """Keeps other services off a folder; released when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            StoreInUseError: Another process holds it.
        """
        self._descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(self._descriptor, 32).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise StoreInUseError(folder, pid or "unknown") from None
        # The lock holds without this: a full disk must not keep a service from starting.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Release the lock."""
        os.close(self._descriptor)


class Reserve:
    """Reserved space, so that slides can be deleted and a service started on a full disk."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / RESERVE_NAME
        self._held = self._file.exists()

    def lend(self) -> None:
        """Release the space if little else is left."""
        if self._held and _free_bytes(self._file.parent) < RESERVE_BYTES:
            self._file.unlink(missing_ok=True)
            self._held = False

    def restore(self) -> None:
        """Reserve the space again, as far as there is any."""
        if self._held:
            return
        size = min(RESERVE_BYTES, _free_bytes(self._file.parent))
        if size < _LEAST_RESERVE_BYTES:
            return
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)
        except OSError:  # something else took the space; the next change tries again
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)
            return
        self._held = True


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(file: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(file: Path, content: bytes) -> None:
    """Write a small file, all of it or nothing."""
    draft = file.with_name(f".{file.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)
    draft.replace(file)
    sync_folder(file.parent)


def overwrite_durably(file: Path, content: bytes) -> None:
    """Overwrite a file with content of the same length, which needs no space."""
    descriptor = os.open(file, os.O_WRONLY)
    try:
        os.pwrite(descriptor, content, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free_bytes(folder: Path) -> int:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize
