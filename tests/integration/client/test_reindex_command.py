"""`slidekin reindex` against a real service of two models: files in, another model at the end."""

from __future__ import annotations

import csv
import dataclasses
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from tests.drawing import draw_slide
from tests.integration.client.encoder import quick_encoder
from tests.service_process import ServiceProcess
from tests.unit.server.made_bundles import write_bundle
from typer.testing import Result

from slidekin import Client, OtherSlideError, SearchOptions, SlideSource

OLD, NEW = "ab" * 32, "cd" * 32
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store of two models that give the same picture other keys."""
    folder = tmp_path_factory.mktemp("models")
    write_bundle(folder / "old", fingerprint=OLD)
    write_bundle(folder / "new", fingerprint=NEW, semantic_order=list(range(128)))
    activate(folder, "old")
    return folder


def activate(store: Path, name: str) -> None:
    (store / "store.yaml").write_text(yaml.safe_dump({"schema": 1, "active": name}))


@pytest.fixture(scope="module")
def service(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with quick_encoder() as url:
        overrides = {"model": {"store": str(store)}, "triton": {"url": url, "timeout_s": 10.0}}
        folder = tmp_path_factory.mktemp("service")
        with ServiceProcess(folder, overrides, codes_only=False) as running:
            yield running


@pytest.fixture
def slides(drawn: Path, tmp_path: Path) -> Path:
    """Three drawn slides in a folder of their own."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in ("glands-p1-s1", "glands-p2-s1", "adipose-p1-s1"):
        shutil.copy(drawn / f"{name}.tiff", folder)
    return folder


@pytest.fixture
def held(client: Client, collection: str, slides: Path, drawn: Path) -> str:
    """A collection of them by the old model, with their labels."""
    client.create_collection(collection)
    ingest(client, collection, slides, drawn)
    return collection


@pytest.fixture
def fresh(client: Client, held: str, slides: Path, drawn: Path) -> str:
    """The same slides, added to a collection of the new model."""
    client.create_collection(f"{held}-fresh", model_fingerprint=NEW)
    ingest(client, f"{held}-fresh", slides, drawn)
    return f"{held}-fresh"


def ingest(client: Client, collection: str, slides: Path, drawn: Path) -> None:
    for row in csv.DictReader((drawn / "labels.csv").read_text().splitlines()):
        path = slides / f"{row['slide']}.tiff"
        if path.exists():
            client.add_slide(
                path, collection=collection, patient_id=row["patient"], label=row["label"]
            )


def content(client: Client, collection: str) -> dict[str, object]:
    return {
        entry.slide.slide_id: (
            dataclasses.replace(entry.slide, name="", create_time=None),
            [array.tolist() for array in (entry.codes.keys, entry.codes.textures, entry.codes.xy)],
            entry.model_fingerprint,
        )
        for entry in client.export_slides(collection)
    }


def test_a_reindexed_collection_equals_one_that_was_ingested_with_the_new_model(
    run: Run, client: Client, held: str, fresh: str, slides: Path
):
    old = content(client, held)
    pictures = client.get_thumbnails("glands-p1-s1", collection=held, patch_indices=[0, 1])
    over = threading.Event()

    def search() -> set[str]:
        seen = set()
        with Client(client.target) as mine:
            while not over.is_set():
                answer = mine.search_slide(slides / "glands-p1-s1.tiff", collection=held, k=3)
                assert answer.slides[0].slide.slide_id == "glands-p1-s1"
                assert answer.slides[0].hamming_distance_bits == 0
                seen.add(answer.model_fingerprint)
        return seen

    with ThreadPoolExecutor(1) as pool:
        searching = pool.submit(search)
        told = run("reindex", held, "--model", "new", "--slides", slides, "--jobs", "1").stdout
        over.set()
        assert searching.result(60) <= {OLD, NEW}
    assert f"collection {held} has model new (cdcdcdcdcdcd): 3 slides encoded anew" in told
    now = content(client, held)
    assert now == content(client, fresh)
    assert now != old
    again = client.get_thumbnails("glands-p1-s1", collection=held, patch_indices=[0, 1])
    assert again == pictures
    for slide in now:
        options = SearchOptions(k=3, mode="exact")
        ours, theirs = (
            client.search_stored_slide(slide, collection=one, options=options)
            for one in (held, fresh)
        )
        assert [one.slide.slide_id for one in ours.slides] == [
            one.slide.slide_id for one in theirs.slides
        ]
    told = run("reindex", held, "--model", "new", "--slides", slides).stdout
    assert f"collection {held} has model new (cdcdcdcdcdcd) already" in told


def test_a_run_goes_on_where_another_one_stopped(run: Run, client: Client, held: str, slides: Path):
    damaged = slides / "glands-p2-s1.tiff"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    told = run("reindex", held, "--model", "cdcd", "--slides", slides, code=1).stdout
    assert "2 slides encoded anew, 1 failed" in told
    assert "glands-p2-s1.tiff" in told.partition("Slides that failed:")[2]
    assert client.get_reindex(held).done_slide_count == 2
    assert "being reindexed to cdcdcdcd" in run("collections", "list").stdout
    damaged.write_bytes(whole)
    told = run("reindex", held, "--model", "cdcd", "--slides", slides).stdout
    assert "1 slides encoded anew by this run, 3 held" in told


def test_missing_files_are_named_and_dropped_only_when_told(
    run: Run, client: Client, held: str, slides: Path
):
    (slides / "adipose-p1-s1.tiff").unlink()
    arguments = ["reindex", held, "--model", "new", "--slides", slides]
    told = run(*arguments, "--dry-run", code=1).stdout
    assert "3 slides, 0 of them encoded with new (cdcdcdcdcdcd), 2 to do" in told
    assert "1 without a file: adipose-p1-s1" in told
    told = run(*arguments, code=1).stderr
    assert "1 slides cannot be encoded anew (adipose-p1-s1)" in told
    assert "--drop-missing" in told
    assert client.get_collection(held).reindex_model_fingerprint == "", "nothing was begun"
    told = run(*arguments, "--drop-missing", "--yes").stdout
    assert "deleted: adipose-p1-s1" in told
    assert sorted(content(client, held)) == ["glands-p1-s1", "glands-p2-s1"]


def test_another_file_is_not_taken_for_the_slide(run: Run, client: Client, held: str, slides: Path):
    size = client.get_slide("glands-p1-s1", collection=held)
    other = slides / "glands-p1-s1.tiff"
    draw_slide(other, "adipose", width_px=size.width_px, height_px=size.height_px)
    told = run("reindex", held, "--model", "new", "--slides", slides, code=1).stdout
    assert "cannot be shown to be what 'glands-p1-s1' was added from" in " ".join(told.split())
    assert "--unverified" in told
    draw_slide(other, "adipose", width_px=size.width_px + 512, height_px=size.height_px)
    with pytest.raises(OtherSlideError, match="width, height"):
        client.reindex_slide(
            SlideSource(other, slide_id="glands-p1-s1"), collection=held, unverified=True
        )
    assert "2 slides with new codes discarded" in run("reindex", held, "--cancel").stdout
    assert client.get_collection(held).reindex_model_fingerprint == ""


def test_slides_that_were_added_with_other_settings_are_recognised(
    run: Run, client: Client, collection: str, slides: Path
):
    client.create_collection(collection)
    for number, path in enumerate(sorted(slides.glob("*.tiff"))):
        source = SlideSource(
            path,
            mosaic=("sish-2022", "default", "default")[number],
            patch_format=("png", "raw", "jpeg")[number],
            mpp=(None, 0.45, None)[number],
        )
        client.add_slide(source, collection=collection)
    told = run("reindex", collection, "--model", "new", "--slides", slides).stdout
    assert "3 slides encoded anew by this run, 3 held" in told


def test_new_collections_take_the_model_that_is_activated_meanwhile(
    run: Run, client: Client, store: Path, collection: str, slides: Path
):
    assert client.create_collection(collection).model_fingerprint == OLD
    activate(store, "new")
    try:
        assert client.create_collection(f"{collection}-2").model_fingerprint == NEW
        status = client.status()
        assert [(one.name, one.active) for one in status.models] == [("new", True), ("old", False)]
        assert {one.encoder_state for one in status.models} == {"ready"}
        assert status.model.fingerprint == NEW
        told = run("status").stdout
        assert "new (cdcdcdcdcdcdcdcd), of new collections" in told
        assert "old (abababababababab)" in told
        client.add_slide(next(slides.iterdir()), collection=collection)
        activate(store, "lost")
        assert client.create_collection(f"{collection}-3").model_fingerprint == NEW, "as before"
    finally:
        activate(store, "old")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--model", "none", "--slides", "."], 1, "served are: old (abababababab), new (cdcd"),
        (["--slides", "."], 2, "say which model"),
        (["--model", "new"], 2, "where the slides are"),
    ],
)
def test_what_is_missing_is_said(run: Run, held: str, arguments: list[str], code: int, told: str):
    assert told in " ".join(run("reindex", held, *arguments, code=code).stderr.split())
