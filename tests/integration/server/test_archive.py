"""The archive on a real store, without gRPC: what a process of its own cannot show."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.service_calls import FINGERPRINT, TEXTURE_BITS, THRESHOLD_BITS, random_codes

from slidekin_server.archive.archive import Archive
from slidekin_server.archive.errors import NotFoundError, NotLoadedError
from slidekin_server.archive.reindex import Reindexer
from slidekin_server.storage import CollectionRecord, SlideFacts, SqliteStore
from slidekin_server.telemetry import Metrics

RECORD = CollectionRecord("c", FINGERPRINT, TEXTURE_BITS, THRESHOLD_BITS)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore.open(tmp_path) as store:
        yield store


@pytest.mark.parametrize(
    "ask",
    [
        lambda archive: archive.view("c"),
        lambda archive: archive.views(),
        lambda archive: archive.create_collection(RECORD),
        lambda archive: archive.delete_collection("c", force=True),
        lambda archive: archive.update_collection("c", display_name="x"),
        lambda archive: archive.add_slide("c", SlideFacts("a"), random_codes(1)),
        lambda archive: archive.delete_slide("c", "a"),
        lambda archive: archive.delete_patient("p", collection_id=None),
        lambda archive: archive.load_slide("c", "a"),
    ],
)
def test_nothing_is_answered_before_the_index_is_loaded(
    store: SqliteStore, ask: Callable[[Archive], object]
) -> None:
    archive = Archive(store, Metrics(CollectorRegistry()))
    with pytest.raises(NotLoadedError):
        ask(archive)
    archive.load(threads=2)
    assert archive.loaded


def test_store_and_index_are_in_step_after_every_change(store: SqliteStore) -> None:
    archive = Archive(store, Metrics(CollectorRegistry()))
    archive.load()
    archive.create_collection(RECORD)

    def check() -> None:
        """What is visible is what a restart would find."""
        view = archive.view("c")
        held = store.list_slides("c")
        assert [record.number for record in held] == sorted(view.facts.by_number)
        assert all(view.facts.record(record.number) == record for record in held)
        assert view.snapshot.patches == sum(record.patch_count for record in held)
        assert view.snapshot.slides == len(held)

    for seed in range(3):
        archive.add_slide("c", SlideFacts(f"s{seed}", f"p{seed}"), random_codes(seed))
        check()
    archive.add_slide("c", SlideFacts("s1", "p1"), random_codes(9, 3), replace=True)
    check()
    archive.update_slide("c", "s1", label="changed")
    check()
    archive.delete_slide("c", "s0")
    check()
    archive.delete_patient("p1", collection_id="c")
    check()
    with pytest.raises(NotFoundError):
        archive.delete_slide("c", "s1")
    check()
    again = Archive(store, Metrics(CollectorRegistry()))
    again.load()
    assert again.view("c").facts.by_id == archive.view("c").facts.by_id


def test_a_view_outlives_what_it_shows(store: SqliteStore) -> None:
    archive = Archive(store, Metrics(CollectorRegistry()))
    archive.load()
    archive.create_collection(RECORD)
    codes = random_codes(1)
    archive.add_slide("c", SlideFacts("a", "p", "label"), codes)
    view = archive.view("c")
    archive.delete_collection("c", force=True)
    (bag, *_) = view.snapshot.exact(codes.textures, limit=1)
    number = int(bag.slides[0])
    assert view.slide_name(number) == "collections/c/slides/a"
    assert view.facts.xy_px(number).tolist() == codes.xy.tolist()
    with pytest.raises(NotFoundError):
        archive.view("c")


def test_a_slide_is_read_with_the_version_that_its_codes_belong_to(store: SqliteStore) -> None:
    """Between the commit of a swap and its publication, new codes are on disk and old ones seen."""
    archive = Archive(store, Metrics(CollectorRegistry()))
    archive.load()
    archive.create_collection(RECORD)
    archive.add_slide("c", SlideFacts("a"), random_codes(1))
    reindexer = Reindexer(archive.shelf)
    reindex = reindexer.start(replace(RECORD, fingerprint="new", texture_bits=256))
    new = replace(random_codes(2, texture_bits=256), xy=random_codes(1).xy)
    reindexer.add_slide(reindex, "a", new)
    committed, go_on = threading.Event(), threading.Event()
    adopt = store.adopt_draft

    def adopt_and_wait(*arguments: Any) -> Any:
        done = adopt(*arguments)
        committed.set()
        assert go_on.wait(60)
        return done

    store.adopt_draft = adopt_and_wait  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as pool:
        finishing = pool.submit(reindexer.finish, "c", "new", drop=())
        assert committed.wait(60)
        assert store.load_slide("c", "a").codes.texture_bits == 256
        assert archive.view("c").collection.fingerprint == FINGERPRINT
        reading = pool.submit(archive.stored, "c", "a")
        go_on.set()
        view, stored = reading.result(60)
        assert finishing.result(60)[0] is view
    assert (view.collection.fingerprint, stored.codes.texture_bits) == ("new", 256)
