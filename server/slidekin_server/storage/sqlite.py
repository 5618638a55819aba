"""The embedded store: one SQLite file in write-ahead mode."""

# ruff: noqa: S608 -- only constants of this package are put into statements; values are bound

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from slidekin_server.failpoints import Failpoint, failpoint
from slidekin_server.storage.errors import (
    CollectionExistsError,
    CollectionNotEmptyError,
    DamagedSlideError,
    SlideExistsError,
    SlideNotFoundError,
)
from slidekin_server.storage.packing import codes_checksum, content_digest, pack
from slidekin_server.storage.records import (
    NO_PICTURES,
    AddedSlide,
    Change,
    ChangeKind,
    CollectionRecord,
    Picture,
    PictureFormat,
    Pictures,
    SlideFacts,
    SlideRecord,
    StoredSlide,
    draft_name,
    drafted_collection,
)
from slidekin_server.storage.sqlite_connections import Connections
from slidekin_server.storage.sqlite_copy import copy_database
from slidekin_server.storage.sqlite_draft import adopt_draft
from slidekin_server.storage.sqlite_queries import (
    delete_from_draft,
    delete_slides,
    find_collection,
    insert_pictures,
    log_change,
    marks,
    require_collection,
    require_slide,
    select_slides,
    select_stored,
)
from slidekin_server.storage.sqlite_rows import (
    COLLECTION_COLUMNS,
    FACT_COLUMNS,
    collection_record,
    collection_row,
    facts_row,
    now_us,
    slide_record,
)
from slidekin_server.storage.sqlite_schema import SLIDE_PICTURE
from slidekin_server.values import PatchCodes

_SLIDES_A_CHUNK = 256  # of 60 patches each: about 2 MiB at a time


class SqliteStore:
    """A `Store` in a folder of its own; `Store` says what each method guarantees."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @classmethod
    def open(cls, folder: Path, *, synchronous: Literal["full", "normal"] = "full") -> Self:
        """Open the store in a folder; create the folder and the store if they are missing.

        Args:
            folder: Holds the database and its lock.
            synchronous: ``full``: an acknowledged change survives a power cut. ``normal``: it
                survives only a crash of the process.

        Raises:
            StoreInUseError: Another process has it open.
            NewerSchemaError: A newer version of the service wrote it.
            DamagedStoreError: The file is broken or not a store.
        """
        return cls(Connections(folder, synchronous))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the store for another service."""
        self._connections.close()

    # Collections

    def create_collection(self, collection: CollectionRecord) -> CollectionRecord:
        """Create an empty collection."""
        with self._connections.write() as connection:
            held = find_collection(connection, collection.name)
            if held:
                raise CollectionExistsError(held.record)
            row = collection_row(collection, now_us())
            connection.execute(
                f"INSERT INTO collections ({COLLECTION_COLUMNS}) VALUES ({marks(row)})", row
            )
            log_change(connection, ChangeKind.COLLECTION_CREATED, collection.name)
        return collection_record(row)

    def get_collection(self, name: str) -> CollectionRecord:
        """Return one collection."""
        with self._connections.read() as connection:
            return require_collection(connection, name).record

    def list_collections(self) -> list[CollectionRecord]:
        """Return all collections in order of creation."""
        with self._connections.read() as connection:
            rows = connection.execute(
                f"SELECT {COLLECTION_COLUMNS} FROM collections ORDER BY id"
            ).fetchall()
            return [collection_record(row) for row in rows]

    def update_collection(
        self, name: str, *, display_name: str | None = None, description: str | None = None
    ) -> CollectionRecord:
        """Change the given values; None keeps a value."""
        with self._connections.write() as connection:
            found = require_collection(connection, name)
            old = found.record
            record = dataclasses.replace(
                old,
                display_name=old.display_name if display_name is None else display_name,
                description=old.description if description is None else description,
            )
            connection.execute(
                "UPDATE collections SET display_name = ?, description = ? WHERE id = ?",
                (record.display_name, record.description, found.id),
            )
            log_change(connection, ChangeKind.COLLECTION_UPDATED, name)
        return record

    def delete_collection(self, name: str, *, force: bool = False) -> list[SlideRecord]:
        """Delete a collection, with ``force`` its slides too."""
        with self._connections.write(erase=True, frees=True) as connection:
            found = require_collection(connection, name)
            slides = select_slides(connection, found, "1", checked=False)
            if slides and not force:
                raise CollectionNotEmptyError(name, len(slides))
            draft = find_collection(connection, draft_name(name))
            for one in (found,) if draft is None else (found, draft):
                delete_slides(connection, select_slides(connection, one, "1", checked=False))
                connection.execute("DELETE FROM collections WHERE id = ?", (one.id,))
                log_change(connection, ChangeKind.COLLECTION_DELETED, one.record.name)
        return slides

    def adopt_draft(
        self, collection: str, keep: Collection[str]
    ) -> tuple[CollectionRecord, list[SlideRecord]]:
        """Replace a collection by its draft, all of it or nothing."""
        with self._connections.write(erase=True) as connection:
            return adopt_draft(connection, collection, keep)

    # Slides

    def add_slide(
        self,
        collection: str,
        facts: SlideFacts,
        codes: PatchCodes,
        pictures: Pictures = NO_PICTURES,
        *,
        replace: bool = False,
    ) -> AddedSlide:
        """Add a slide, all of it or nothing."""
        packed = pack(codes)
        digest = content_digest(facts, codes)
        with self._connections.write(erase=replace) as connection:
            found = require_collection(connection, collection)
            if codes.texture_bits != found.record.texture_bits:
                raise ValueError(
                    f"textures of {codes.texture_bits} bits do not fit collection '{collection}' "
                    f"of {found.record.texture_bits} bits"
                )
            held = select_slides(
                connection, found, "s.slide_id = ?", facts.slide_id, checked=not replace
            )
            if held and not replace:
                raise SlideExistsError(held[0])
            delete_slides(connection, held)
            if held:
                delete_from_draft(connection, collection, facts.slide_id)
                failpoint(Failpoint.BETWEEN_DELETE_AND_INSERT)
            row = facts_row(facts, digest, len(codes), now_us())
            number = connection.execute(
                f"INSERT INTO slides (collection_id, {FACT_COLUMNS}, checksum) "
                f"VALUES (?, {marks(row)})",
                (found.id, *row),
            ).lastrowid
            assert number is not None
            connection.execute(
                "INSERT INTO codes VALUES (?, ?, ?, ?, ?)",
                (number, *packed, codes_checksum(number, packed)),
            )
            insert_pictures(connection, number, pictures)
            log_change(connection, ChangeKind.SLIDE_ADDED, collection, number)
        record = slide_record(collection, (number, *row))
        return AddedSlide(record, held[0] if held else None)

    def get_slide(self, collection: str, slide_id: str) -> SlideRecord:
        """Return one slide's facts."""
        with self._connections.read() as connection:
            return require_slide(connection, collection, slide_id)

    def load_slide(self, collection: str, slide_id: str) -> StoredSlide:
        """Return one slide with its arrays."""
        with self._connections.read() as connection:
            found = require_collection(connection, collection)
            slides = select_stored(connection, found, "s.slide_id = ?", slide_id)
        for slide in slides:
            if isinstance(slide, DamagedSlideError):
                raise slide
            return slide
        raise SlideNotFoundError(collection, slide_id)

    def list_slides(
        self, collection: str, *, after: int = 0, limit: int = 1000
    ) -> list[SlideRecord]:
        """Return up to ``limit`` slides whose number is greater than ``after``."""
        with self._connections.read() as connection:
            found = require_collection(connection, collection)
            return select_slides(connection, found, "s.number > ?", after, limit=limit)

    def iter_slides(
        self, collection: str, *, damaged: Callable[[DamagedSlideError], None] | None = None
    ) -> Iterator[StoredSlide]:
        """Iterate over all slides with their arrays, a few in memory at a time."""
        after = 0
        while True:
            with self._connections.read() as connection:
                found = require_collection(connection, collection)
                chunk = select_stored(
                    connection, found, "s.number > ?", after, limit=_SLIDES_A_CHUNK
                )
            for slide in chunk:
                if not isinstance(slide, DamagedSlideError):
                    after = slide.record.number
                    yield slide
                    continue
                if damaged is None:
                    raise slide
                after = slide.number
                damaged(slide)
            if len(chunk) < _SLIDES_A_CHUNK:
                return

    def update_slide(
        self,
        collection: str,
        slide_id: str,
        *,
        label: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> SlideRecord:
        """Change the given values; None keeps a value. The number stays."""
        with self._connections.write() as connection:
            old = require_slide(connection, collection, slide_id)
            facts = dataclasses.replace(
                old.facts,
                label=old.facts.label if label is None else label,
                attributes=old.facts.attributes if attributes is None else attributes,
            )
            (created_us,) = connection.execute(
                "SELECT created_us FROM slides WHERE number = ?", (old.number,)
            ).fetchone()
            row = facts_row(facts, old.content_digest, old.patch_count, created_us)
            connection.execute(
                f"UPDATE slides SET ({FACT_COLUMNS}, checksum) = ({marks(row)}) WHERE number = ?",
                (*row, old.number),
            )
            log_change(connection, ChangeKind.SLIDE_UPDATED, collection, old.number)
        return slide_record(collection, (old.number, *row))

    def delete_slide(self, collection: str, slide_id: str) -> SlideRecord:
        """Delete one slide; its data is overwritten on the disk."""
        with self._connections.write(erase=True, frees=True) as connection:
            record = require_slide(connection, collection, slide_id, checked=False)
            delete_slides(connection, [record])
            delete_from_draft(connection, collection, slide_id)
        return record

    def delete_patient(
        self, patient_id: str, *, collection: str | None = None
    ) -> list[SlideRecord]:
        """Delete every slide of a patient; their data is overwritten on the disk."""
        if not patient_id:
            raise ValueError(
                "patient_id must not be empty: slides without one are not one person's"
            )
        with self._connections.write(erase=True, frees=True) as connection:
            if collection is not None:
                require_collection(connection, collection)
                draft = find_collection(connection, draft_name(collection))
                names = [collection] if draft is None else [collection, draft.record.name]
            else:
                rows = connection.execute("SELECT name FROM collections").fetchall()
                names = [name for (name,) in rows]
            slides = [
                slide
                for name in names
                for slide in select_slides(
                    connection,
                    require_collection(connection, name),
                    "s.patient_id = ?",
                    patient_id,
                    checked=False,
                )
            ]
            slides.sort(key=lambda slide: slide.number)
            delete_slides(connection, slides)
        return slides

    # Pictures

    def slide_picture(self, collection: str, slide_id: str) -> Picture | None:
        """Return the picture of the whole slide, if one is kept."""
        return self._pictures(collection, slide_id, [SLIDE_PICTURE]).get(SLIDE_PICTURE)

    def patch_pictures(
        self, collection: str, slide_id: str, indices: Sequence[int], *, most_bytes: int
    ) -> dict[int, Picture]:
        """Return the stored pictures of these patches, until they exceed ``most_bytes``."""
        wanted = [index for index in indices if index >= 0]
        return self._pictures(collection, slide_id, wanted, most_bytes)

    def _pictures(
        self, collection: str, slide_id: str, patches: Sequence[int], most_bytes: int = 0
    ) -> dict[int, Picture]:
        with self._connections.read() as connection:
            number = require_slide(connection, collection, slide_id).number
            pictures = {}
            for patch in patches:
                row = connection.execute(
                    "SELECT format, data FROM pictures WHERE number = ? AND patch = ?",
                    (number, patch),
                ).fetchone()
                if row:
                    pictures[patch] = Picture(PictureFormat(row[0]), row[1])
                    most_bytes -= len(row[1])
                    if most_bytes < 0:
                        break
            return pictures

    # Copies

    def copy_to(self, file: Path) -> None:
        """Write a copy of the store at this moment, while changes continue.

        Args:
            file: Does not exist yet. On return it is complete and on disk, and a database without
                a log.

        Raises:
            StoreFullError: There is no space for the copy.
        """
        with self._connections.read() as connection:
            # The first read fixes what the transaction sees, so the copy need not start again
            # after every change.
            connection.execute("SELECT count(*) FROM changes").fetchone()
            copy_database(connection, file)

    # Followers

    def count_slides(self) -> int:
        """Return how many slides all collections hold, drafts left out."""
        with self._connections.read() as connection:
            counts = connection.execute(
                "SELECT c.name, count(*) FROM slides s "
                "JOIN collections c ON c.id = s.collection_id GROUP BY c.id"
            ).fetchall()
        return sum(count for name, count in counts if drafted_collection(name) is None)

    def last_sequence(self) -> int:
        """Return the sequence number of the latest change; 0 before the first."""
        with self._connections.read() as connection:
            (sequence,) = connection.execute(
                "SELECT coalesce(max(sequence), 0) FROM changes"
            ).fetchone()
            return int(sequence)

    def changes_since(self, sequence: int, *, limit: int = 1000) -> list[Change]:
        """Return up to ``limit`` changes after a sequence number, in order."""
        with self._connections.read() as connection:
            rows = connection.execute(
                "SELECT sequence, kind, collection, slide_number FROM changes "
                "WHERE sequence > ? ORDER BY sequence LIMIT ?",
                (sequence, limit),
            ).fetchall()
            return [Change(number, ChangeKind(kind), *rest) for number, kind, *rest in rows]
