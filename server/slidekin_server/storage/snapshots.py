"""Snapshots: checked copies of the store, each a folder with a database and a manifest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slidekin_server.failpoints import Failpoint, failpoint
from slidekin_server.storage.disk import (
    LOCK_NAME,
    FolderLock,
    sync_file,
    sync_folder,
    write_durably,
)
from slidekin_server.storage.errors import (
    DamagedSnapshotError,
    DamagedStoreError,
    FolderNotEmptyError,
    NewerSchemaError,
    SnapshotNotFoundError,
    StoreUnavailableError,
)
from slidekin_server.storage.mark import MARK_NAME
from slidekin_server.storage.sqlite_connections import os_errors
from slidekin_server.storage.sqlite_copy import Survey, survey_file
from slidekin_server.storage.sqlite_schema import FILE_NAME
from slidekin_server.storage.store import Store

MANIFEST_NAME = "manifest.json"
_FORMAT = "slidekin snapshot 1"
_DRAFT = ".draft-"
_READ_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of a snapshot's manifest."""

    name: str
    """Of its folder."""
    create_time: datetime
    """UTC. When the copy began: it holds what was acknowledged by then."""
    schema: int
    sequence: int
    """Of the latest change that it holds."""
    collection_count: int
    slide_count: int
    """Damaged ones included."""
    patch_count: int
    damaged_slide_count: int
    """Slides that were already damaged in the store; they are not served after a restore."""
    size_bytes: int
    """Of the database."""
    sha256: str
    """Of the database, in hex."""


class Snapshots:
    """A folder of snapshots; created if it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """The folder that holds them."""
        return self._folder

    def create(self, store: Store) -> Snapshot:
        """Copy a store while it is in use, check the copy, and only then give it its name.

        Raises:
            DamagedStoreError: The store itself is broken; no snapshot is made.
            StoreFullError: There is no space for the snapshot; nothing is left of it.
            StoreInUseError: Another process is making or removing snapshots.
        """
        with os_errors(self._folder), self._locked():
            self._sweep()
            draft = self._folder / f"{_DRAFT}{secrets.token_hex(4)}"
            draft.mkdir(mode=0o700)
            try:
                return self._create(store, draft)
            finally:
                shutil.rmtree(draft, ignore_errors=True)

    def _create(self, store: Store, draft: Path) -> Snapshot:
        started = datetime.now(UTC)
        database = draft / FILE_NAME
        store.copy_to(database)
        survey = survey_file(database)
        snapshot = Snapshot(
            name=f"{started:%Y%m%dT%H%M%S%fZ}-{survey.sequence}",
            create_time=started,
            schema=survey.schema,
            sequence=survey.sequence,
            collection_count=survey.collection_count,
            slide_count=survey.slide_count,
            patch_count=survey.patch_count,
            damaged_slide_count=len(survey.damaged),
            size_bytes=database.stat().st_size,
            sha256=_sha256(database),
        )
        write_durably(draft / MANIFEST_NAME, _manifest(snapshot))
        failpoint(Failpoint.SNAPSHOT_BEFORE_PUBLISH)
        draft.rename(self._folder / snapshot.name)
        sync_folder(self._folder)
        failpoint(Failpoint.SNAPSHOT_AFTER_PUBLISH)
        return snapshot

    def remove_old(self, keep: Snapshot, keep_count: int) -> list[str]:
        """Remove the oldest snapshots.

        Damaged snapshots, renamed ones and anything else in the folder are neither counted nor
        removed.

        Args:
            keep: The latest snapshot, of which every byte was checked. It stays, even if the clock
                makes it look older than others.
            keep_count: How many snapshots stay, including ``keep``.

        Returns:
            The names of the removed snapshots, oldest first.

        Raises:
            StoreInUseError: Another process is making or removing snapshots.
            StoreUnavailableError: A snapshot cannot be removed.
        """
        with os_errors(self._folder), self._locked():
            others = [name for name in self.names() if name != keep.name and self._is_whole(name)]
            removed = others[max(keep_count - 1, 0) :][::-1]
            for name in removed:
                # Hidden in one step: if the service is killed, `_sweep` removes the rest.
                draft = self._folder / f"{_DRAFT}{secrets.token_hex(4)}"
                (self._folder / name).rename(draft)
                shutil.rmtree(draft)
            return removed

    def _is_whole(self, name: str) -> bool:
        """Whether a snapshot has a good manifest, the right size and its original name."""
        try:
            stated = self.read(name)
            found = (self._folder / name / FILE_NAME).stat()
        except (DamagedSnapshotError, FileNotFoundError):
            return False
        return (stated.name, stated.size_bytes) == (name, found.st_size)

    def names(self) -> list[str]:
        """Return the names of all snapshots, damaged or not, newest first."""
        try:
            found = [entry.name for entry in self._folder.iterdir() if entry.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreUnavailableError(self._folder, error.strerror or str(error)) from error
        return sorted((name for name in found if not name.startswith(".")), reverse=True)

    def read(self, name: str) -> Snapshot:
        """Return the content of a snapshot's manifest; the database is not read.

        Raises:
            SnapshotNotFoundError: There is no snapshot of that name.
            DamagedSnapshotError: Its manifest is broken.
        """
        return read_snapshot(self._path(name))

    def check(self, name: str) -> Snapshot:
        """Check every byte of a snapshot. Raises as `read` does."""
        return check_snapshot(self._path(name))

    def newest_good(self) -> Snapshot | None:
        """Return the newest snapshot that can be restored; every byte is checked."""
        for name in self.names():
            with contextlib.suppress(DamagedSnapshotError, NewerSchemaError):
                return self.check(name)
        return None

    def _path(self, name: str) -> Path:
        if name not in self.names():
            raise SnapshotNotFoundError(self._folder, name)
        return self._folder / name

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FolderLock(self._folder)
        try:
            yield
        finally:
            lock.release()

    def _sweep(self) -> None:
        """Remove what killed services left behind; under the lock nobody else has a draft."""
        for draft in self._folder.glob(f"{_DRAFT}*"):
            shutil.rmtree(draft, ignore_errors=True)


def read_snapshot(folder: Path) -> Snapshot:
    """Return the content of a snapshot's manifest; the database is not read.

    Raises:
        SnapshotNotFoundError: There is no such folder.
        DamagedSnapshotError: The manifest is missing or broken.
    """
    if not folder.is_dir():
        raise SnapshotNotFoundError(folder.parent, folder.name)
    try:
        stated = json.loads((folder / MANIFEST_NAME).read_bytes())
        digest = stated.pop("manifest_sha256")
        if digest != _digest(stated) or stated.pop("format") != _FORMAT:
            raise DamagedSnapshotError(folder, f"{MANIFEST_NAME} is not what was written")
        stated["create_time"] = datetime.fromisoformat(stated["create_time"])
        return Snapshot(**stated)
    except FileNotFoundError:
        raise DamagedSnapshotError(folder, f"{MANIFEST_NAME} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedSnapshotError(folder, f"{MANIFEST_NAME} cannot be read") from None
    except OSError as error:
        raise StoreUnavailableError(folder, error.strerror or str(error)) from error


def check_snapshot(folder: Path) -> Snapshot:
    """Check every byte of a snapshot: it must be what was written, and an intact store.

    Raises:
        SnapshotNotFoundError: There is no such folder.
        DamagedSnapshotError: The snapshot is broken.
        NewerSchemaError: A newer version of the service wrote it.
    """
    snapshot = read_snapshot(folder)
    database = folder / FILE_NAME
    with os_errors(database):
        if not database.exists():
            raise DamagedSnapshotError(folder, f"{FILE_NAME} is missing")
        size = database.stat().st_size
        if size != snapshot.size_bytes:
            raise DamagedSnapshotError(
                folder, f"{FILE_NAME} has {size} bytes instead of {snapshot.size_bytes}"
            )
        if _sha256(database) != snapshot.sha256:
            raise DamagedSnapshotError(folder, f"the SHA-256 of {FILE_NAME} is wrong")
    try:
        survey = survey_file(database)
    except DamagedStoreError as error:
        raise DamagedSnapshotError(folder, error.cause) from None
    if not _agrees(survey, snapshot):
        raise DamagedSnapshotError(folder, f"{FILE_NAME} does not hold what the manifest says")
    return snapshot


def restore_snapshot(
    snapshot: Path, folder: Path, *, progress: Callable[[int], None] = lambda _: None
) -> Snapshot:
    """Make a store from a snapshot.

    Args:
        snapshot: Its folder. Every byte is checked first; the snapshot is not changed.
        folder: Folder of the new store; missing or empty.
        progress: Called with the number of bytes of each copied part.

    Raises:
        SnapshotNotFoundError, DamagedSnapshotError, NewerSchemaError: It cannot be restored.
        FolderNotEmptyError: The folder is not empty.
        StoreFullError: There is no space for the store; the folder holds none.
    """
    checked = check_snapshot(snapshot)
    with os_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FolderLock(folder)
        try:
            # An earlier attempt that was interrupted leaves only these files.
            draft = folder / f".{FILE_NAME}.draft"
            foreign = sorted(
                entry.name
                for entry in folder.iterdir()
                if entry.name not in (LOCK_NAME, draft.name, "lost+found")
            )
            if foreign:
                raise FolderNotEmptyError(folder, foreign[0])
            try:
                if _copy(snapshot / FILE_NAME, draft, progress) != checked.sha256:
                    raise DamagedSnapshotError(snapshot, "it was changed while it was copied")
                failpoint(Failpoint.RESTORE_BEFORE_PUBLISH)
                draft.rename(folder / FILE_NAME)
            finally:
                draft.unlink(missing_ok=True)
            sync_folder(folder)
            sync_folder(folder.parent)
        finally:
            lock.release()
    return checked


def is_snapshot(folder: Path) -> bool:
    """Whether a folder is a snapshot rather than a store."""
    return (folder / MANIFEST_NAME).exists()


def is_store(folder: Path) -> bool:
    """Whether a folder is meant to hold a store."""
    return (folder / FILE_NAME).exists() or (folder / MARK_NAME).exists()


def _copy(source: Path, target: Path, progress: Callable[[int], None]) -> str:
    """Copy a file durably and return the SHA-256 of what was read."""
    digest = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with source.open("rb") as reader, os.fdopen(descriptor, "wb") as writer:
        while part := reader.read(_READ_BYTES):
            digest.update(part)
            writer.write(part)
            progress(len(part))
            failpoint(Failpoint.RESTORE_COPYING)
    sync_file(target)
    return digest.hexdigest()


def _agrees(survey: Survey, snapshot: Snapshot) -> bool:
    return (
        survey.schema,
        survey.sequence,
        survey.collection_count,
        survey.slide_count,
        survey.patch_count,
        len(survey.damaged),
    ) == (
        snapshot.schema,
        snapshot.sequence,
        snapshot.collection_count,
        snapshot.slide_count,
        snapshot.patch_count,
        snapshot.damaged_slide_count,
    )


def _manifest(snapshot: Snapshot) -> bytes:
    stated: dict[str, Any] = {"format": _FORMAT, **asdict(snapshot)}
    stated["create_time"] = snapshot.create_time.isoformat()
    stated["manifest_sha256"] = _digest(stated)
    return (json.dumps(stated, indent=2) + "\n").encode()


def _digest(stated: dict[str, Any]) -> str:
    """SHA-256 of a manifest's content, independent of its layout."""
    text = json.dumps(stated, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
