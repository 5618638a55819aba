"""What can go wrong in the store.

StorageError
├─ CollectionNotFoundError    no such collection
├─ CollectionExistsError      a collection of that name exists
├─ CollectionNotEmptyError    it holds slides and force was not given
├─ SlideNotFoundError         no such slide
├─ SlideExistsError           a slide of that name exists
├─ DamagedSlideError          a slide's checksum is wrong: it is not served
├─ DamagedStoreError          the database file is broken or not a store of slidekin
├─ NewerSchemaError           written by a newer version of the service
├─ StoreInUseError            another service has the store open
├─ StoreFullError             no space left: nothing was changed
├─ StoreReadOnlyError         the disk refuses writes: nothing was changed
├─ StoreUnavailableError      any other failure of the disk or file system
├─ SnapshotNotFoundError      no such snapshot
├─ DamagedSnapshotError       a snapshot is broken: it is not restored
└─ FolderNotEmptyError        a snapshot can only be restored into an empty folder

Messages name slides and collections: they are meant for the caller, not for logs.
"""

from __future__ import annotations

from pathlib import Path

from slidekin_server.storage.records import CollectionRecord, SlideRecord


class StorageError(Exception):
    """Root of all errors of the store."""


class CollectionNotFoundError(StorageError):
    """No such collection."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no collection '{name}': create it first, or check its name")
        self.name = name


class CollectionExistsError(StorageError):
    """A collection of that name exists; ``record`` is its record."""

    def __init__(self, record: CollectionRecord) -> None:
        super().__init__(f"collection '{record.name}' exists already: choose another name")
        self.record = record


class CollectionNotEmptyError(StorageError):
    """The collection holds slides and ``force`` was not given."""

    def __init__(self, name: str, slide_count: int) -> None:
        super().__init__(
            f"collection '{name}' holds {slide_count} slides: delete them first, or delete it by "
            "force"
        )
        self.name = name
        self.slide_count = slide_count


class SlideNotFoundError(StorageError):
    """No such slide."""

    def __init__(self, collection: str, slide_id: str) -> None:
        super().__init__(f"collection '{collection}' holds no slide '{slide_id}'")
        self.collection = collection
        self.slide_id = slide_id


class SlideExistsError(StorageError):
    """A slide of that name exists; ``record`` is its record."""

    def __init__(self, record: SlideRecord) -> None:
        super().__init__(
            f"collection '{record.collection}' holds a slide '{record.facts.slide_id}' already: "
            "replace it, or give this one another name"
        )
        self.record = record


class DamagedSlideError(StorageError):
    """A checksum of the slide is wrong: the slide is not served."""

    def __init__(self, collection: str, slide_id: str, number: int) -> None:
        super().__init__(
            f"slide '{slide_id}' (number {number}) of collection '{collection}' is damaged on "
            "disk: restore the store from a backup, or delete the slide and add it again"
        )
        self.collection = collection
        self.slide_id = slide_id
        self.number = number


class DamagedStoreError(StorageError):
    """The database file is broken, or not a store of slidekin."""

    def __init__(self, file: Path, cause: str) -> None:
        super().__init__(f"{file} cannot be used ({cause}): restore it from a backup")
        self.file = file
        self.cause = cause


class NewerSchemaError(StorageError):
    """The store was written by a newer version of the service."""

    def __init__(self, file: Path, found: int, known: int) -> None:
        super().__init__(
            f"{file} has schema {found}, this service knows up to {known}: start the version that "
            "wrote it, or a newer one"
        )


class StoreInUseError(StorageError):
    """Another service has the store open."""

    def __init__(self, folder: Path, pid: str) -> None:
        super().__init__(
            f"{folder} is in use by process {pid}: stop that service, or set storage.path to "
            "another folder"
        )
        self.pid = pid


class StoreFullError(StorageError):
    """No space is left; nothing was changed."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"no space is left for {file}: free some; nothing was changed")


class StoreReadOnlyError(StorageError):
    """The disk refuses writes; nothing was changed."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"{file} cannot be written: make it writable; nothing was changed")


class StoreUnavailableError(StorageError):
    """Any other failure of the disk or file system.

    If a change failed so late that its outcome is unknown, it may or may not be there after a
    restart.
    """

    def __init__(self, file: Path, cause: str) -> None:
        super().__init__(f"{file} cannot be reached ({cause}): check the disk")


class SnapshotNotFoundError(StorageError):
    """No such snapshot."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(f"{folder} holds no snapshot '{name}': list them to see what is there")
        self.name = name


class DamagedSnapshotError(StorageError):
    """A snapshot is broken: it is not restored."""

    def __init__(self, snapshot: Path, cause: str) -> None:
        super().__init__(f"snapshot {snapshot} is damaged ({cause}): use another one")
        self.snapshot = snapshot
        self.cause = cause


class FolderNotEmptyError(StorageError):
    """A snapshot can only be restored into an empty folder."""

    def __init__(self, folder: Path, found: str) -> None:
        super().__init__(
            f"{folder} is not empty (it holds {found}): name a new folder, nothing is overwritten"
        )
