"""Statements that several methods of the SQLite store share; run them in a transaction."""

# ruff: noqa: S608 -- only constants of this package are put into statements; values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from slidekin_server.storage.errors import (
    CollectionNotFoundError,
    DamagedSlideError,
    SlideNotFoundError,
)
from slidekin_server.storage.records import (
    ChangeKind,
    CollectionRecord,
    Pictures,
    SlideRecord,
    StoredSlide,
    draft_name,
)
from slidekin_server.storage.sqlite_rows import (
    CODES_COLUMNS,
    COLLECTION_COLUMNS,
    SLIDE_COLUMNS,
    collection_record,
    slide_record,
    stored_slide,
)
from slidekin_server.storage.sqlite_schema import SLIDE_PICTURE


class HeldCollection(NamedTuple):
    """A collection and its row's id."""

    id: int
    record: CollectionRecord


def marks(row: Sequence[object]) -> str:
    """Placeholders for the values of a row."""
    return ", ".join("?" * len(row))


def log_change(
    connection: sqlite3.Connection, kind: ChangeKind, collection: str, number: int | None = None
) -> None:
    """Append to the change log."""
    connection.execute(
        "INSERT INTO changes (kind, collection, slide_number) VALUES (?, ?, ?)",
        (kind.value, collection, number),
    )


def find_collection(connection: sqlite3.Connection, name: str) -> HeldCollection | None:
    """The collection of that name, if there is one."""
    row = connection.execute(
        f"SELECT id, {COLLECTION_COLUMNS} FROM collections WHERE name = ?", (name,)
    ).fetchone()
    return HeldCollection(row[0], collection_record(row[1:])) if row else None


def require_collection(connection: sqlite3.Connection, name: str) -> HeldCollection:
    """The collection of that name.

    Raises:
        CollectionNotFoundError: There is none.
    """
    found = find_collection(connection, name)
    if found is None:
        raise CollectionNotFoundError(name)
    return found


def select_slides(
    connection: sqlite3.Connection,
    collection: HeldCollection,
    condition: str,
    *values: object,
    limit: int = -1,
    checked: bool = True,
) -> list[SlideRecord]:
    """Slides of a collection in order of insertion, without their arrays.

    Args:
        connection: Inside a transaction.
        collection: The collection.
        condition: SQL over the row ``s``.
        values: The values bound in it.
        limit: Most rows; -1: all.
        checked: Refuse damaged slides. Deletions leave it off.

    Raises:
        DamagedSlideError: A checksum is wrong.
    """
    rows = connection.execute(
        f"SELECT {SLIDE_COLUMNS} FROM slides s WHERE s.collection_id = ? AND {condition} "
        "ORDER BY s.number LIMIT ?",
        (collection.id, *values, limit),
    ).fetchall()
    return [slide_record(collection.record.name, row, checked=checked) for row in rows]


def require_slide(
    connection: sqlite3.Connection, collection: str, slide_id: str, *, checked: bool = True
) -> SlideRecord:
    """One slide without its arrays.

    Raises:
        CollectionNotFoundError: There is no such collection.
        SlideNotFoundError: It holds no such slide.
        DamagedSlideError: A checksum is wrong, and ``checked``.
    """
    found = require_collection(connection, collection)
    for record in select_slides(connection, found, "s.slide_id = ?", slide_id, checked=checked):
        return record
    raise SlideNotFoundError(collection, slide_id)


def select_stored(
    connection: sqlite3.Connection,
    collection: HeldCollection,
    condition: str,
    *values: object,
    limit: int = -1,
) -> list[StoredSlide | DamagedSlideError]:
    """Slides with their arrays, or the error of each damaged one; arguments as `select_slides`."""
    rows = connection.execute(
        f"SELECT {SLIDE_COLUMNS}, {CODES_COLUMNS} FROM slides s LEFT JOIN codes c USING (number) "
        f"WHERE s.collection_id = ? AND {condition} ORDER BY s.number LIMIT ?",
        (collection.id, *values, limit),
    ).fetchall()
    name, bits = collection.record.name, collection.record.texture_bits
    slides: list[StoredSlide | DamagedSlideError] = []
    for row in rows:
        try:
            slides.append(stored_slide(name, row, texture_bits=bits))
        except DamagedSlideError as error:
            slides.append(error)
    return slides


def insert_pictures(connection: sqlite3.Connection, number: int, pictures: Pictures) -> None:
    """Store the pictures of a slide."""
    named = dict(pictures.patches)
    if pictures.slide:
        named[SLIDE_PICTURE] = pictures.slide
    connection.executemany(
        "INSERT INTO pictures VALUES (?, ?, ?, ?)",
        [(number, patch, picture.format.value, picture.data) for patch, picture in named.items()],
    )


def delete_from_draft(connection: sqlite3.Connection, collection: str, slide_id: str) -> None:
    """Delete a slide from the collection's draft, if there is one that holds it."""
    draft = find_collection(connection, draft_name(collection))
    if draft is not None:
        made = select_slides(connection, draft, "s.slide_id = ?", slide_id, checked=False)
        delete_slides(connection, made)


def delete_slides(connection: sqlite3.Connection, slides: Sequence[SlideRecord]) -> None:
    """Delete slides with everything that belongs to them."""
    for slide in slides:
        connection.execute("DELETE FROM slides WHERE number = ?", (slide.number,))
        log_change(connection, ChangeKind.SLIDE_DELETED, slide.collection, slide.number)
