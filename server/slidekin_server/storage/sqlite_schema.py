"""Tables of the SQLite store, and the check that a file is a store of slidekin."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from slidekin_server.storage.errors import DamagedStoreError, NewerSchemaError

FILE_NAME = "slidekin.sqlite3"
APPLICATION_ID = 0x534C4944
"""Marks the file as a store of slidekin ("SLID"), so that other databases are not mistaken for
one."""
SCHEMA = 1
SLIDE_PICTURE = -1
"""The patch index of a picture that shows the whole slide."""

# The arrays are stored apart from the facts, so that listing slides does not read them.
_TABLES = """
CREATE TABLE collections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    texture_bits INTEGER NOT NULL,
    hamming_threshold_bits INTEGER NOT NULL,
    display_name TEXT NOT NULL,
    description TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT;

CREATE TABLE slides (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    collection_id INTEGER NOT NULL REFERENCES collections (id),
    slide_id TEXT NOT NULL,
    patient_id TEXT NOT NULL,
    label TEXT NOT NULL,
    attributes TEXT NOT NULL,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL,
    mpp REAL NOT NULL,
    patch_size_px INTEGER NOT NULL,
    source_digest TEXT NOT NULL,
    content_digest TEXT NOT NULL,
    patch_count INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    checksum BLOB NOT NULL,
    UNIQUE (collection_id, slide_id)
) STRICT;
CREATE INDEX slides_in_order ON slides (collection_id, number);
CREATE INDEX slides_by_patient ON slides (patient_id);

CREATE TABLE codes (
    number INTEGER PRIMARY KEY REFERENCES slides (number) ON DELETE CASCADE,
    keys BLOB NOT NULL,
    textures BLOB NOT NULL,
    xy BLOB NOT NULL,
    checksum BLOB NOT NULL
) STRICT;

CREATE TABLE pictures (
    number INTEGER NOT NULL REFERENCES slides (number) ON DELETE CASCADE,
    patch INTEGER NOT NULL,
    format TEXT NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (number, patch)
) STRICT;

CREATE TABLE changes (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    collection TEXT NOT NULL,
    slide_number INTEGER
) STRICT;
"""


def prepare(connection: sqlite3.Connection, file: Path) -> None:
    """Create the tables in a new file; refuse a file that is not a store, or too new.

    Raises:
        DamagedStoreError: The file is some other database.
        NewerSchemaError: A newer version of the service wrote it.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (application, schema, tables) == (0, 0, 0):
        connection.executescript(
            f"BEGIN IMMEDIATE;{_TABLES}"
            f"PRAGMA application_id = {APPLICATION_ID};PRAGMA user_version = {SCHEMA};COMMIT;"
        )
    else:
        require_ours(connection, file)


def require_ours(connection: sqlite3.Connection, file: Path) -> None:
    """Refuse a file that is not a store, or too new. Raises as `prepare` does."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise DamagedStoreError(file, "it is not a store of slidekin")
    if schema > SCHEMA:
        raise NewerSchemaError(file, schema, SCHEMA)
