"""The embedded store: the promises of every store, and those of its file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.server.store_conformance import (
    COLLECTION,
    FACTS,
    StoreTests,
    assert_same_codes,
    ids,
    made_codes,
)

from slidekin_server.storage import (
    DamagedSlideError,
    DamagedStoreError,
    NewerSchemaError,
    Picture,
    PictureFormat,
    Pictures,
    SlideFacts,
    SqliteStore,
    StoreFullError,
    StoreInUseError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from slidekin_server.storage import sqlite as sqlite_module

FILE = "slidekin.sqlite3"
SECOND_SERVICE = """
import pathlib, sys
from slidekin_server.storage import SqliteStore, StoreInUseError
try:
    SqliteStore.open(pathlib.Path(sys.argv[1]))
except StoreInUseError as error:
    print(error.pid)
"""


class TestSqliteStore(StoreTests):
    @pytest.fixture
    def store(self, tmp_path: Path):
        with SqliteStore.open(tmp_path / "store") as store:
            yield store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with three slides, closed."""
    with SqliteStore.open(tmp_path) as store:
        store.create_collection(COLLECTION)
        for name in ("a", "b", "c"):
            store.add_slide("colon", SlideFacts(name, f"patient of {name}"), made_codes(1, 60))
    return tmp_path


def edit(folder: Path, statement: str, *values: object) -> None:
    """Change the file behind the store's back."""
    connection = sqlite3.connect(folder / FILE)
    with connection:
        connection.execute(statement, values)
    connection.close()


def test_a_store_opened_again_holds_what_it_held(folder: Path):
    with SqliteStore.open(folder) as store:
        assert ids(store.iter_slides("colon")) == ["a", "b", "c"]
        assert_same_codes(store.load_slide("colon", "c").codes, made_codes(1, 60))


def test_numbers_go_on_after_a_restart_even_past_the_last_slide_deleted(folder: Path):
    with SqliteStore.open(folder) as store:
        last = store.delete_slide("colon", "c").number
    with SqliteStore.open(folder) as store:
        assert store.add_slide("colon", FACTS, made_codes(1)).record.number > last


def test_going_through_all_slides_crosses_chunks(folder: Path, monkeypatch):
    monkeypatch.setattr(sqlite_module, "_SLIDES_A_CHUNK", 1)
    with SqliteStore.open(folder) as store:
        assert ids(store.iter_slides("colon")) == ["a", "b", "c"]


def test_commits_are_synced_to_disk(tmp_path: Path):
    with SqliteStore.open(tmp_path / "a") as store:
        assert store._connections._writer.execute("PRAGMA synchronous").fetchone() == (2,)
        assert store._connections._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with SqliteStore.open(tmp_path / "b", synchronous="normal") as store:
        assert store._connections._writer.execute("PRAGMA synchronous").fetchone() == (1,)


def test_only_the_owner_may_look_into_the_folder(tmp_path: Path):
    with SqliteStore.open(tmp_path / "new" / "store"):
        assert (tmp_path / "new" / "store").stat().st_mode & 0o077 == 0


def test_a_second_service_is_told_who_has_the_store(tmp_path: Path):
    with SqliteStore.open(tmp_path), pytest.raises(StoreInUseError, match=str(os.getpid())):
        SqliteStore.open(tmp_path)
    SqliteStore.open(tmp_path).close()


def test_a_second_process_is_told_who_has_the_store(tmp_path: Path):
    with SqliteStore.open(tmp_path):
        found = subprocess.run(
            [sys.executable, "-c", SECOND_SERVICE, str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    assert found.stdout.strip() == str(os.getpid())


def test_a_store_of_a_newer_version_is_refused_and_left_alone(folder: Path):
    edit(folder, "PRAGMA user_version = 2")
    before = (folder / FILE).read_bytes()
    with pytest.raises(NewerSchemaError, match=r"schema 2.*up to 1"):
        SqliteStore.open(folder)
    assert (folder / FILE).read_bytes() == before


def test_another_database_is_not_taken_for_a_store(tmp_path: Path):
    edit(tmp_path, "CREATE TABLE cats (name TEXT)")
    with pytest.raises(DamagedStoreError, match="not a store of slidekin"):
        SqliteStore.open(tmp_path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"no database at all" * 1000)
    with pytest.raises(DamagedStoreError, match="restore it from a backup"):
        SqliteStore.open(tmp_path)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("codes", "keys", b"\0" * 480),
        ("codes", "textures", b"\0" * 60 * 128),
        ("codes", "xy", b"\0" * 480),
        ("codes", "keys", b"short"),
        ("codes", "checksum", b""),
        ("slides", "patient_id", "another"),
        ("slides", "label", "another"),
        ("slides", "attributes", "{"),
        ("slides", "patch_count", 59),
        ("slides", "mpp", 0.5),
        ("slides", "checksum", b""),
    ],
)
def test_a_damaged_slide_is_named_and_never_served_and_can_be_deleted(
    folder: Path, table: str, column: str, value: object
):
    edit(folder, f"UPDATE {table} SET {column} = ? WHERE number = 2", value)
    with SqliteStore.open(folder) as store:
        with pytest.raises(DamagedSlideError, match="'b'") as caught:
            list(store.iter_slides("colon"))
        assert (caught.value.slide_id, caught.value.number) == ("b", 2)
        with pytest.raises(DamagedSlideError):
            store.load_slide("colon", "b")
        assert store.load_slide("colon", "c").record.facts.slide_id == "c"
        assert store.delete_slide("colon", "b").number == 2
        assert ids(store.iter_slides("colon")) == ["a", "c"]


def test_text_that_is_no_text_any_more_is_a_damaged_slide(folder: Path):
    edit(folder, "UPDATE slides SET label = CAST(x'ff' AS TEXT) WHERE number = 2")
    with SqliteStore.open(folder) as store, pytest.raises(DamagedSlideError, match="'b'"):
        store.get_slide("colon", "b")


def test_a_slide_without_its_arrays_is_damaged(folder: Path):
    edit(folder, "DELETE FROM codes WHERE number = 2")
    with SqliteStore.open(folder) as store:
        with pytest.raises(DamagedSlideError, match="'b'"):
            store.load_slide("colon", "b")
        store.add_slide("colon", SlideFacts("b"), made_codes(2), replace=True)
        assert_same_codes(store.load_slide("colon", "b").codes, made_codes(2))


def test_arrays_under_another_slides_number_are_damaged(folder: Path):
    edit(folder, "UPDATE codes SET number = number + 100 WHERE number = 2")
    edit(folder, "UPDATE codes SET number = 2 WHERE number = 3")
    with SqliteStore.open(folder) as store, pytest.raises(DamagedSlideError, match="'b'"):
        store.load_slide("colon", "b")


def test_a_truncated_file_is_told_and_not_served(folder: Path):
    size = (folder / FILE).stat().st_size
    os.truncate(folder / FILE, size // 2)
    with pytest.raises((DamagedStoreError, DamagedSlideError)), SqliteStore.open(folder) as store:
        list(store.iter_slides("colon"))


def everything_on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


@pytest.mark.parametrize("how", ["patient", "slide", "collection", "replace"])
def test_what_is_deleted_leaves_no_byte_on_disk(tmp_path: Path, how: str):
    secret = "Erika Mustermann"
    texture = made_codes(99, 60)
    picture = os.urandom(5000)
    with SqliteStore.open(tmp_path) as store:
        store.create_collection(COLLECTION)
        store.add_slide("colon", SlideFacts("before", "other"), made_codes(1, 60))
        facts = SlideFacts("s", secret, label=f"label of {secret}", attributes={"name": secret})
        pictures = Pictures(Picture(PictureFormat.JPEG, picture))
        store.add_slide("colon", facts, texture, pictures)
        store.add_slide("colon", SlideFacts("after", "other"), made_codes(2, 60))
        assert secret.encode() in everything_on_disk(tmp_path)
        match how:
            case "patient":
                store.delete_patient(secret)
            case "slide":
                store.delete_slide("colon", "s")
            case "collection":
                store.delete_collection("colon", force=True)
            case "replace":
                store.add_slide("colon", SlideFacts("s", "x"), made_codes(3), replace=True)
        left = everything_on_disk(tmp_path)  # while the service runs, not only once it ended
        assert secret.encode() not in left
        assert texture.textures[:1].tobytes() not in left
        assert picture[100:200] not in left
        if how != "collection":
            assert [*ids(store.iter_slides("colon"))][:1] == ["before"]


def test_erasure_put_off_by_a_reader_is_done_with_the_next_write(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("slidekin_server.storage.sqlite_connections._BUSY_TIMEOUT_MS", 1)
    with SqliteStore.open(tmp_path) as store:
        store.create_collection(COLLECTION)
        store.add_slide("colon", SlideFacts("s", "Erika Mustermann"), made_codes(1))
        with store._connections.read() as reader:
            reader.execute("SELECT count(*) FROM slides").fetchone()
            assert ids(store.delete_patient("Erika Mustermann")) == ["s"]
            assert b"Erika Mustermann" in everything_on_disk(tmp_path)
        store.update_collection("colon", description="any other write")
        assert b"Erika Mustermann" not in everything_on_disk(tmp_path)


def test_a_failed_read_that_someone_remembers_does_not_hold_back_erasure(tmp_path: Path):
    with SqliteStore.open(tmp_path) as store:
        store.create_collection(COLLECTION)
        store.add_slide("colon", SlideFacts("s", "Erika Mustermann"), made_codes(1))
        with store._connections._writer as writer:
            writer.execute("UPDATE slides SET label = 'damaged'")
        with pytest.raises(DamagedSlideError) as remembered:
            store.list_slides("colon")
        store.delete_patient("Erika Mustermann")
        assert remembered.value.slide_id == "s"
        assert b"Erika Mustermann" not in everything_on_disk(tmp_path)
        assert store.list_slides("colon") == []


def test_a_full_disk_is_told_changes_nothing_and_heals(folder: Path):
    with SqliteStore.open(folder) as store:
        pages = store._connections._writer.execute("PRAGMA page_count").fetchone()[0]
        store._connections._writer.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreFullError, match="no space is left"):
            store.add_slide("colon", FACTS, made_codes(1, 1000))
        assert ids(store.iter_slides("colon")) == ["a", "b", "c"]
        store._connections._writer.execute("PRAGMA max_page_count = 1000000")
        store.add_slide("colon", FACTS, made_codes(1, 1000))
        assert ids(store.iter_slides("colon")) == ["a", "b", "c", FACTS.slide_id]


def test_a_store_that_may_not_be_written_says_so_and_still_reads(folder: Path):
    with SqliteStore.open(folder) as store:
        store._connections._writer.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreReadOnlyError, match="make it writable"):
            store.add_slide("colon", FACTS, made_codes(1))
        assert ids(store.iter_slides("colon")) == ["a", "b", "c"]


def test_a_closed_store_is_not_touched_again(folder: Path):
    store = SqliteStore.open(folder)
    store.close()
    store.close()
    with SqliteStore.open(folder):
        for call in (store.list_collections, lambda: store.delete_patient("p")):
            with pytest.raises(StoreUnavailableError, match="closed"):
                call()


def test_a_path_that_is_a_file_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError, match="file"):
        SqliteStore.open(tmp_path / "file")
