from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tests.service_process import ServiceProcess

from slidekin import (
    AlreadyExistsError,
    AsyncClient,
    Client,
    Codes,
    FailedPreconditionError,
    ImagePatch,
    InvalidRequestError,
    NotFoundError,
    NoTissueError,
    PatchHits,
    SearchOptions,
    SearchResult,
    Slide,
    SlideFilter,
    SlideSource,
    UnavailableError,
)
from slidekin.slides import Region

BITS = 1024
MODEL = "cd" * 32


def _codes(seed: int, patches: int = 6, bits: int = BITS) -> Codes:
    """Codes of one kind of tissue: seeds of the same ten differ in few bits."""
    kind = np.random.default_rng(seed // 10)
    rng = np.random.default_rng(seed)
    keys = kind.integers(10**13, 10**14, patches) + rng.integers(0, 10**6, patches)
    textures = kind.integers(0, 256, (patches, bits // 8), dtype=np.uint8)
    textures[:, 0] ^= rng.integers(0, 256, patches, dtype=np.uint8)
    return Codes(keys, textures, rng.integers(0, 10**4, (patches, 2)).astype(np.int32))


def _fill(client: Client, collection: str) -> None:
    client.create_collection(
        collection, model_fingerprint=MODEL, texture_bits=BITS, hamming_threshold_bits=128
    )
    for seed in (10, 11, 12, 20, 21, 22):
        slide = Slide(
            f"collections/{collection}/slides/s{seed}",
            patient_id=f"p{seed}",
            label="first" if seed < 20 else "second",
            attributes={"parity": "even" if seed % 2 == 0 else "odd"},
        )
        client.add_slide_codes(slide, _codes(seed), model_fingerprint=MODEL)


def _ids(result: SearchResult) -> list[str]:
    return [found.slide.slide_id for found in result.slides]


def test_the_status_tells_model_limits_and_state(client: Client):
    status = client.status()
    assert (status.encoder_state, status.index_loaded) == ("ready", True)
    assert status.model.fingerprint == "ab" * 32
    assert status.limits.max_message_bytes >= 1024 * 1024
    assert {network.role for network in status.model.networks} == {"vqvae", "texture"}


def test_collections_are_created_changed_listed_and_deleted(client: Client, collection: str):
    created = client.create_collection(collection, display_name="Own", description="d")
    assert created.texture_bits == 1280
    assert client.create_collection(collection, display_name="Own", description="d") == created
    with pytest.raises(AlreadyExistsError):
        client.create_collection(collection, hamming_threshold_bits=7)
    changed = client.update_collection(collection, display_name="Other")
    assert (changed.display_name, changed.description) == ("Other", "d")
    assert collection in [entry.collection_id for entry in client.list_collections()]
    assert client.delete_collection(collection) == 0
    with pytest.raises(NotFoundError, match=collection):
        client.get_collection(collection)


def test_slides_by_codes_are_found_filtered_and_exported_as_they_were_added(
    client: Client, collection: str
):
    _fill(client, collection)
    result = client.search_codes(_codes(13), collection=collection, k=3, model_fingerprint=MODEL)
    assert set(_ids(result)) == {"s10", "s11", "s12"}
    assert result.slides[0].evidence[0].hit.slide.startswith(f"collections/{collection}/slides/s1")
    assert result.query_patch_count == 6 == len(result.patch_hits)
    odd = SearchOptions(k=1, filter=SlideFilter(attributes={"parity": ["odd"]}))
    assert _ids(client.search_stored_slide("s10", collection=collection, options=odd)) == ["s11"]
    exported = {entry.slide.slide_id: entry for entry in client.export_slides(collection)}
    assert np.array_equal(exported["s21"].codes.textures, _codes(21).textures)
    assert np.array_equal(exported["s21"].codes.keys, _codes(21).keys)
    assert np.array_equal(exported["s21"].codes.xy, _codes(21).xy)
    hits = client.search_patches(_codes(23), collection=collection, model_fingerprint=MODEL)
    assert [len(hits.patch_hits), hits.random_weights] == [6, False]


def test_the_same_search_by_stream_and_in_one_gives_the_same(client: Client, collection: str):
    _fill(client, collection)
    *hits, streamed = client.stream_search(
        _codes(13), collection=collection, k=4, model_fingerprint=MODEL
    )
    whole = client.search_codes(_codes(13), collection=collection, k=4, model_fingerprint=MODEL)
    assert isinstance(streamed, SearchResult)
    assert all(isinstance(item, PatchHits) for item in hits)
    timings = whole.timings
    assert dataclasses.replace(streamed, timings=timings) == whole


def test_slides_are_listed_relabelled_and_deleted(client: Client, collection: str):
    _fill(client, collection)
    second = SlideFilter(labels=["second"], exclude_slides=["s21"])
    assert [s.slide_id for s in client.list_slides(collection, filter=second)] == ["s20", "s22"]
    assert [s.label for s in client.batch_get_slides(["s20", "s10"], collection=collection)] == [
        "second", "first",
    ]  # fmt: skip
    with pytest.raises(NotFoundError, match="s99"):
        client.batch_get_slides(["s20", "s99"], collection=collection)
    changed = client.update_slide("s20", collection=collection, attributes={"stain": "HE"})
    assert (changed.label, changed.attributes) == ("second", {"stain": "HE"})
    assert client.delete_slide("s20", collection=collection) == 6
    deleted = client.delete_patient("p22", collection=collection)
    assert deleted == (f"collections/{collection}/slides/s22",)
    assert client.delete_patient("p22", collection=collection) == ()
    with pytest.raises(FailedPreconditionError):
        client.delete_collection(collection)
    assert client.delete_collection(collection, force=True) == 4


def test_long_listings_go_on_over_pages(
    client: Client, collection: str, monkeypatch: pytest.MonkeyPatch
):
    _fill(client, collection)
    monkeypatch.setattr("slidekin._calls.slides.PAGE_SIZE", 4)
    assert len({slide.name for slide in client.list_slides(collection)}) == 6


def test_bad_requests_name_field_and_cure(client: Client, collection: str):
    _fill(client, collection)
    for k in (0, 10**9):
        with pytest.raises(InvalidRequestError) as caught:
            client.search_codes(_codes(1), collection=collection, k=k, model_fingerprint=MODEL)
        assert "options.k" in caught.value.violations[0].field
    with pytest.raises(InvalidRequestError):
        client.search_codes(_codes(1, bits=512), collection=collection, model_fingerprint=MODEL)
    with pytest.raises(FailedPreconditionError, match="model"):
        client.search_codes(_codes(1), collection=collection, model_fingerprint="ef" * 32)
    with pytest.raises(NotFoundError, match="nowhere"):
        client.search_codes(_codes(1), collection="nowhere")


def test_a_slide_from_disk_is_added_once_with_its_facts(
    client: Client, collection: str, drawn: Path
):
    client.create_collection(collection)
    path = drawn / "glands-p1-s1.tiff"
    added = client.add_slide(path, collection=collection, patient_id="p", label="glands")
    assert not added.already_present
    slide = added.slide
    assert (slide.slide_id, slide.patient_id, slide.label) == ("glands-p1-s1", "p", "glands")
    assert (slide.mpp, slide.patch_size_px, slide.patch_count) == (0.5, 1024, 4)
    assert client.add_slide(path, collection=collection, patient_id="p").already_present
    with pytest.raises(AlreadyExistsError, match="another patient"):
        client.add_slide(path, collection=collection, patient_id="q")


def test_a_slide_from_disk_finds_its_own_pattern(client: Client, shared: str, drawn: Path):
    stages: list[str] = []
    result = client.search_slide(
        drawn / "glands-p1-s1.tiff",
        collection=shared,
        k=2,
        options=SearchOptions(filter=SlideFilter(exclude_patient_ids=["glands-p1"])),
        progress=lambda stage, _done, _total: stages.append(stage),
    )
    assert set(_ids(result)) == {"glands-p2-s1", "glands-p2-s2"}
    assert {"mosaic", "send", "search"} <= set(stages)
    region = SlideSource(drawn / "glands-p1-s1.tiff", region=Region(0, 0, 1500, 1500))
    part = client.search_slide(region, collection=shared)
    assert part.query_patch_count < result.query_patch_count
    assert part.query.region == (0, 0, 1500, 1500)


def test_pictures_that_came_with_a_slide_are_given_back(client: Client, shared: str):
    kept = client.get_thumbnails("glands-p2-s1", collection=shared, patch_indices=[0, 3])
    assert kept.slide is not None
    assert kept.slide.startswith(b"\xff\xd8")
    assert set(kept.patches) == {0, 3}


@pytest.mark.parametrize("patch_format", ["png", "raw"])
def test_patches_travel_without_loss_where_that_is_wanted(
    client: Client, collection: str, drawn: Path, patch_format: str
):
    client.create_collection(collection)
    source = SlideSource(drawn / "adipose-p1-s1.tiff", patch_format=patch_format)
    assert client.add_slide(source, collection=collection).slide.patch_count == 4
    assert client.search_slide(source, collection=collection).slides[0].hamming_distance_bits == 0


def test_nothing_of_a_slide_stays_where_a_patch_is_refused(client: Client, collection: str):
    client.create_collection(collection)
    slide = Slide(f"collections/{collection}/slides/s")
    with pytest.raises(InvalidRequestError):
        client.add_slide_images(slide, [ImagePatch(0, 0, b"this is no picture")])
    assert list(client.list_slides(collection)) == []


def test_a_slide_of_glass_is_an_error_and_not_an_empty_answer(
    client: Client, collection: str, tmp_path: Path
):
    glass = tmp_path / "glass.tiff"
    tifffile.imwrite(glass, np.full((3000, 3000, 3), 245, np.uint8), tile=(256, 256))
    client.create_collection(collection)
    with pytest.raises(NoTissueError, match=r"glass\.tiff"):
        client.add_slide(SlideSource(glass, mpp=0.5), collection=collection)


def test_a_service_that_is_killed_and_started_again_is_found_again(tmp_path: Path, collection: str):
    service = ServiceProcess(tmp_path / "own")
    with service, Client(service.url) as client:
        _fill(client, collection)
        service.kill()
        with pytest.raises(UnavailableError, match="slidekin up"):
            client.get_slide("s10", collection=collection)
        service.start()
        with Client(service.url) as again:
            assert again.get_slide("s10", collection=collection).patch_count == 6


@pytest.mark.asyncio
async def test_the_asynchronous_client_answers_as_the_other_does(
    service: ServiceProcess, client: Client, collection: str, drawn: Path
):
    slides = sorted(drawn.glob("*-p1-*.tiff"))  # noqa: ASYNC240 - nobody waits for this loop
    async with AsyncClient(service.url) as asynchronous:
        await asynchronous.create_collection(collection, hamming_threshold_bits=600)
        for path in slides:
            await asynchronous.add_slide(path, collection=collection, label=path.stem[:5])
        query = drawn / "adipose-p2-s1.tiff"
        result = await asynchronous.search_slide(query, collection=collection, k=3)
        listed = [slide async for slide in asynchronous.list_slides(collection)]
        exported = [entry async for entry in asynchronous.export_slides(collection)]
        with pytest.raises(NotFoundError):
            await asynchronous.get_slide("nobody", collection=collection)
    assert listed == list(client.list_slides(collection))
    assert len(exported) == len(listed) == 4
    whole = client.search_slide(query, collection=collection, k=3)
    assert dataclasses.replace(result, timings=whole.timings) == whole
