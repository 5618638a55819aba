"""The statements by which a draft replaces its collection, inside one transaction."""

# ruff: noqa: S608 -- only constants of this package are put into statements; values are bound

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Collection

from slidekin_server.failpoints import Failpoint, failpoint
from slidekin_server.storage.records import ChangeKind, CollectionRecord, SlideRecord, draft_name
from slidekin_server.storage.sqlite_queries import (
    HeldCollection,
    delete_slides,
    log_change,
    marks,
    require_collection,
    select_slides,
)
from slidekin_server.storage.sqlite_rows import FACT_COLUMNS, created_us, facts_row, slide_record


def adopt_draft(
    connection: sqlite3.Connection, name: str, keep: Collection[str]
) -> tuple[CollectionRecord, list[SlideRecord]]:
    """Give a collection the model and the slides of its draft; see `Store.adopt_draft`."""
    held = require_collection(connection, name)
    draft = require_collection(connection, draft_name(name))
    old = {slide.facts.slide_id: slide for slide in _slides(connection, held)}
    made = {slide.facts.slide_id: slide for slide in _slides(connection, draft)}
    delete_slides(connection, [made[slide] for slide in made.keys() - set(keep)])
    failpoint(Failpoint.REINDEX_SWAPPING)
    slides = [
        _take_over(connection, held, old.pop(slide_id), made[slide_id].number)
        for slide_id in sorted(keep, key=lambda slide: made[slide].number)
    ]
    delete_slides(connection, list(old.values()))
    record = dataclasses.replace(
        held.record,
        fingerprint=draft.record.fingerprint,
        texture_bits=draft.record.texture_bits,
        hamming_threshold_bits=draft.record.hamming_threshold_bits,
    )
    connection.execute(
        "UPDATE collections SET fingerprint = ?, texture_bits = ?, hamming_threshold_bits = ? "
        "WHERE id = ?",
        (record.fingerprint, record.texture_bits, record.hamming_threshold_bits, held.id),
    )
    connection.execute("DELETE FROM collections WHERE id = ?", (draft.id,))
    log_change(connection, ChangeKind.COLLECTION_UPDATED, name)
    log_change(connection, ChangeKind.COLLECTION_DELETED, draft.record.name)
    return record, slides


def _slides(connection: sqlite3.Connection, collection: HeldCollection) -> list[SlideRecord]:
    # Slides that are deleted may be damaged; those that stay are checked in `_take_over`.
    return select_slides(connection, collection, "1", checked=False)


def _take_over(
    connection: sqlite3.Connection, held: HeldCollection, before: SlideRecord, number: int
) -> SlideRecord:
    """Replace the collection's slide by the draft's slide of this number.

    Label and attributes may have changed since it was encoded; those of the collection are kept.
    """
    (checked,) = select_slides(connection, held, "s.number = ?", before.number)
    (digest, patch_count) = connection.execute(
        "SELECT content_digest, patch_count FROM slides WHERE number = ?", (number,)
    ).fetchone()
    connection.execute("UPDATE pictures SET number = ? WHERE number = ?", (number, checked.number))
    delete_slides(connection, [checked])
    row = facts_row(checked.facts, digest, patch_count, created_us(checked))
    connection.execute(
        f"UPDATE slides SET (collection_id, {FACT_COLUMNS}, checksum) = (?, {marks(row)}) "
        "WHERE number = ?",
        (held.id, *row, number),
    )
    log_change(connection, ChangeKind.SLIDE_ADDED, held.record.name, number)
    return slide_record(held.record.name, (number, *row))
