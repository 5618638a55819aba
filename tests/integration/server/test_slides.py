"""Slides, over a real socket."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from PIL import Image
from tests.service_calls import (
    Calls,
    Failure,
    SlideSearch,
    near_codes,
    patch_messages,
    random_codes,
    slide_id,
)
from tests.service_process import ServiceProcess, eventually

from slidekin.v1 import common_pb2, slides_pb2

DIGEST = "0123456789abcdef" * 4


def png(side_px: int = 8, colour: tuple[int, int, int] = (200, 30, 90)) -> bytes:
    """A picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (side_px, side_px), colour).save(buffer, "PNG")
    return buffer.getvalue()


def refused(call: object, *arguments: object, **options: object) -> Failure:
    """What a call that must fail says."""
    assert callable(call)
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return Failure.of(caught.value)


def test_a_slide_comes_back_with_every_fact(calls: Calls) -> None:
    added = calls.add(
        "näht/1".replace("/", " "),
        random_codes(1, 7),
        patient_id="p1",
        label="LUAD",
        attributes={"stain": "H&E", "scanner": "x"},
        width_px=100_000,
        height_px=90_000,
        mpp=0.25,
        patch_size_px=2048,
        source_digest=DIGEST,
    )
    slide = added.slide
    assert not added.already_present
    assert slide.name == calls.name("näht 1")
    assert (slide.patient_id, slide.label) == ("p1", "LUAD")
    assert dict(slide.attributes) == {"stain": "H&E", "scanner": "x"}
    assert (slide.width_px, slide.height_px, slide.patch_size_px) == (100_000, 90_000, 2048)
    assert slide.mpp == 0.25
    assert slide.source_digest == DIGEST
    assert slide.patch_count == 7
    assert len(slide.content_digest) == 64
    assert slide.create_time.seconds > 0
    got = calls.slides.GetSlide(slides_pb2.GetSlideRequest(name=slide.name)).slide
    assert got == slide
    collection = calls.get()
    assert (collection.slide_count, collection.patch_count) == (1, 7)
    assert collection.index_version == added.index_version


def test_slides_are_got_in_the_order_asked_and_missing_ones_named(calls: Calls) -> None:
    for slide in "abc":
        calls.add(slide, random_codes(ord(slide)))

    def batch(*slides: str) -> list[str]:
        request = slides_pb2.BatchGetSlidesRequest(
            parent=calls.parent, names=[calls.name(slide) for slide in slides]
        )
        return [slide_id(s.name) for s in calls.slides.BatchGetSlides(request).slides]

    assert batch("c", "a", "c") == ["c", "a", "c"]
    failure = refused(batch, "a", "x", "y")
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert calls.name("x") in failure.message
    assert calls.name("y") in failure.message
    other = slides_pb2.BatchGetSlidesRequest(parent="collections/other", names=[calls.name("a")])
    assert refused(calls.slides.BatchGetSlides, other).fields == ["names[0]"]


def test_slides_are_listed_page_by_page_in_order_of_insertion(calls: Calls) -> None:
    names = [f"s{number}" for number in (3, 1, 2, 5, 4)]
    for number, slide in enumerate(names):
        calls.add(slide, random_codes(number, 2))
    listed, token = [], ""
    for _ in range(10):
        request = slides_pb2.ListSlidesRequest(parent=calls.parent, page_size=2, page_token=token)
        page = calls.slides.ListSlides(request)
        listed += [slide_id(slide.name) for slide in page.slides]
        token = page.next_page_token
        if not token:
            break
        # Deleting what was listed, or adding more, moves no page.
        if len(listed) == 2:
            calls.slides.DeleteSlide(slides_pb2.DeleteSlideRequest(name=calls.name("s3")))
    assert listed == names


def test_a_page_token_belongs_to_its_listing(calls: Calls) -> None:
    for number in range(3):
        calls.add(f"s{number}", random_codes(number, 2), label="A")
    first = calls.slides.ListSlides(slides_pb2.ListSlidesRequest(parent=calls.parent, page_size=1))
    other = slides_pb2.ListSlidesRequest(
        parent=calls.parent,
        page_token=first.next_page_token,
        filter=common_pb2.SlideFilter(labels=["A"]),
    )
    failure = refused(calls.slides.ListSlides, other)
    assert failure.fields == ["page_token"]
    assert failure.info.reason == "INVALID_PAGE_TOKEN"


def test_filters_choose_by_label_attribute_slide_and_patient(calls: Calls) -> None:
    facts = {
        "a": {"label": "A", "patient_id": "p", "attributes": {"stain": "H&E", "site": "1"}},
        "b": {"label": "A", "patient_id": "q", "attributes": {"stain": "PAS"}},
        "c": {"label": "B", "patient_id": "q", "attributes": {"stain": "H&E"}},
        "d": {},
    }
    for number, (slide, values) in enumerate(facts.items()):
        calls.add(slide, random_codes(number, 2), **values)

    def chosen(**conditions: object) -> str:
        return "".join(calls.held(filter=common_pb2.SlideFilter(**conditions)))

    def attribute(name: str, *values: str) -> common_pb2.AttributeCondition:
        return common_pb2.AttributeCondition(attribute=name, values=values)

    assert chosen() == "abcd"
    assert chosen(labels=["A"]) == "ab"
    assert chosen(labels=["A", "B", "unknown"]) == "abc"
    assert chosen(attributes=[attribute("stain", "H&E")]) == "ac"
    assert chosen(attributes=[attribute("stain", "H&E", "PAS")]) == "abc"
    assert chosen(attributes=[attribute("site")]) == "a"
    assert chosen(attributes=[attribute("stain", "H&E"), attribute("site", "1")]) == "a"
    assert chosen(labels=["A"], attributes=[attribute("stain", "PAS")]) == "b"
    assert chosen(slides=[calls.name("d"), calls.name("b"), calls.name("gone")]) == "bd"
    assert chosen(exclude_patient_ids=["q", "nobody"]) == "ad"
    assert chosen(exclude_slides=[calls.name("a")]) == "bcd"
    assert chosen(labels=["A"], exclude_patient_ids=["p"]) == "b"
    assert chosen(labels=["unknown"]) == ""


def test_labels_and_attributes_change_and_searches_follow(calls: Calls) -> None:
    codes = random_codes(1)
    calls.add("a", codes, label="A", attributes={"x": "1"}, patient_id="p")

    def update(paths: list[str], **facts: object) -> slides_pb2.Slide:
        request = slides_pb2.UpdateSlideRequest(
            slide=slides_pb2.Slide(name=calls.name("a"), **facts)
        )
        request.update_mask.paths.extend(paths)
        return calls.slides.UpdateSlide(request).slide

    assert update(["label"], label="B", attributes={"x": "2"}).label == "B"
    assert calls.held(filter=common_pb2.SlideFilter(labels=["B"])) == ["a"]
    assert calls.held(filter=common_pb2.SlideFilter(labels=["A"])) == []
    assert calls.search(codes).ranked.slides[0].slide.label == "B"
    changed = update([], attributes={"y": "3"})
    assert (changed.label, dict(changed.attributes)) == ("", {"y": "3"})
    assert refused(update, ["patient_id"], patient_id="q").fields == ["update_mask"]


def test_the_same_slide_twice_is_present_already(calls: Calls) -> None:
    codes = random_codes(1)
    first = calls.add("a", codes, patient_id="p", label="A")
    again = calls.add("a", codes, patient_id="p", label="A")
    assert again.already_present
    assert again.slide == first.slide
    assert again.index_version == first.index_version
    # A label that was changed since is kept: an ingest that is run again must not undo it.
    relabelled = calls.add("a", codes, patient_id="p", label="B")
    assert relabelled.already_present
    assert relabelled.slide.label == "A"


def test_a_slide_known_by_its_source_is_answered_before_any_patch_travels(calls: Calls) -> None:
    codes = random_codes(1)
    calls.add("a", codes, source_digest=DIGEST)
    finish = threading.Event()

    def header_only() -> Iterator[slides_pb2.AddSlideRequest]:
        yield next(calls.additions("a", codes, source_digest=DIGEST))
        finish.wait(60)  # the stream stays open: the answer must not wait for its end

    answer = calls.slides.AddSlide(header_only(), timeout=30)
    finish.set()
    assert answer.already_present


def test_another_slide_of_the_same_name_is_refused_unless_replacing(calls: Calls) -> None:
    old, new = random_codes(1), random_codes(2)
    calls.add("a", old, label="A")
    for failure in (
        refused(calls.add, "a", new, label="A"),
        refused(calls.add, "a", old, patient_id="someone else"),
    ):
        assert failure.code is grpc.StatusCode.ALREADY_EXISTS
        assert failure.info.reason == "SLIDE_ALREADY_EXISTS"
        assert failure.resource.resource_name == calls.name("a")
        assert "replace" in failure.message
    assert calls.search(old).ranked.slides[0].hamming_distance_bits == 0
    replaced = calls.add("a", new, label="B", replace=True)
    assert not replaced.already_present
    assert calls.held() == ["a"]
    assert calls.search(new).ranked.slides[0].hamming_distance_bits == 0
    assert calls.search(old, mode=common_pb2.SEARCH_MODE_GUIDED).slides == []
    assert calls.add("a", new, label="B", replace=True).already_present
    assert calls.add("a", new, label="C", replace=True).slide.label == "C"


def test_a_slide_that_replaces_nothing_is_added(calls: Calls) -> None:
    assert not calls.add("a", random_codes(1), replace=True).already_present
    assert calls.held() == ["a"]


def test_a_deleted_slide_is_found_no_more(calls: Calls) -> None:
    codes = random_codes(1)
    calls.add("a", codes)
    calls.add("b", near_codes(codes, 2))
    assert calls.search(codes, k=2).slides == ["a", "b"]
    request = slides_pb2.DeleteSlideRequest(name=calls.name("a"))
    assert calls.slides.DeleteSlide(request).deleted_patches == 8
    assert calls.search(codes, k=2).slides == ["b"]
    assert calls.held() == ["b"]
    assert refused(calls.slides.DeleteSlide, request).code is grpc.StatusCode.NOT_FOUND
    missing = slides_pb2.GetSlideRequest(name=calls.name("a"))
    assert refused(calls.slides.GetSlide, missing).resource.resource_name == calls.name("a")
    assert not calls.add("a", codes).already_present


def test_a_patient_is_erased_from_one_collection_or_all(channel: grpc.Channel) -> None:
    both = [Calls(channel, f"erase-{side}") for side in "lr"]
    for calls in both:
        calls.create()
        for slide, patient in (("a", "erased"), ("b", "kept"), ("c", "erased"), ("d", "")):
            calls.add(slide, random_codes(ord(slide)), patient_id=patient)
    left, right = both

    def erase(parent: str) -> list[str]:
        request = slides_pb2.DeletePatientRequest(parent=parent, patient_id="erased")
        return sorted(left.slides.DeletePatient(request).deleted_slides)

    assert erase(left.parent) == [left.name("a"), left.name("c")]
    assert (left.held(), right.held()) == (["b", "d"], ["a", "b", "c", "d"])
    assert erase("collections/-") == [right.name("a"), right.name("c")]
    assert right.held() == ["b", "d"]
    assert erase("collections/-") == []
    assert set(right.search(random_codes(ord("a")), k=5).slides) == {"b", "d"}


def test_an_export_taken_into_another_collection_searches_equally(
    calls: Calls, channel: grpc.Channel
) -> None:
    for number in range(12):
        calls.add(
            f"s{number}",
            near_codes(random_codes(number % 3), number),
            label="ABC"[number % 3],
            patient_id=f"p{number // 2}",
        )
    copy = Calls(channel, f"{calls.collection}-copy")
    copy.create()
    for exported in calls.slides.ExportSlides(slides_pb2.ExportSlidesRequest(parent=calls.parent)):
        assert exported.model_fingerprint == calls.fingerprint
        slide = exported.slide
        taken = copy.add(
            slide_id(slide.name),
            exported.patches.patches,
            label=slide.label,
            patient_id=slide.patient_id,
        )
        assert taken.slide.content_digest == slide.content_digest
    assert copy.held() == calls.held()

    def answer(found: SlideSearch) -> object:
        return (
            {
                patch: [(slide_id(h.slide), h.patch_index, h.hamming_distance_bits) for h in b.hits]
                for patch, b in found.bags.items()
            },
            [(slide_id(s.slide.name), s.entropy, s.score) for s in found.ranked.slides],
        )

    for seed in range(3):
        query = random_codes(seed)
        assert answer(copy.search(query, k=8)) == answer(calls.search(query, k=8))


def test_an_export_can_be_filtered(calls: Calls) -> None:
    for slide in "abc":
        calls.add(slide, random_codes(ord(slide)), label=slide)
    request = slides_pb2.ExportSlidesRequest(
        parent=calls.parent, filter=common_pb2.SlideFilter(labels=["b", "c"])
    )
    exported = list(calls.slides.ExportSlides(request))
    assert [slide_id(one.slide.name) for one in exported] == ["b", "c"]
    codes = random_codes(ord("b"))
    assert [patch.code.key for patch in exported[0].patches.patches] == codes.keys.tolist()
    assert [list(p.code.texture) for p in exported[0].patches.patches] == codes.textures.tolist()
    assert [[p.x_px, p.y_px] for p in exported[0].patches.patches] == codes.xy.tolist()


def test_thumbnails_come_back_byte_for_byte(calls: Calls) -> None:
    patches = patch_messages(random_codes(1, 3))
    small = common_pb2.Image(format=common_pb2.IMAGE_FORMAT_PNG, data=png())
    patches[0].thumbnail.CopyFrom(small)
    patches[2].thumbnail.CopyFrom(small)
    whole = common_pb2.Image(format=common_pb2.IMAGE_FORMAT_PNG, data=png(16, (1, 2, 3)))
    calls.add("a", patches, thumbnail=whole)

    def thumbnails(*indices: int, slide: bool = False) -> slides_pb2.GetThumbnailsResponse:
        request = slides_pb2.GetThumbnailsRequest(
            name=calls.name("a"), patch_indices=indices, slide_thumbnail=slide
        )
        return calls.slides.GetThumbnails(request)

    got = thumbnails(2, 1, 0, slide=True)
    assert got.slide_thumbnail == whole
    assert [one.patch_index for one in got.patch_thumbnails] == [2, 0]
    assert all(one.thumbnail == small for one in got.patch_thumbnails)
    assert not thumbnails(0).HasField("slide_thumbnail")
    assert refused(thumbnails, 3).fields == ["patch_indices[0]"]


def test_a_slide_without_patches_is_refused(calls: Calls) -> None:
    failure = refused(calls.add, "a", random_codes(1, 0))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.info.reason == "EMPTY_SLIDE"
    assert calls.name("a") in failure.message


def test_codes_of_another_model_are_refused_naming_both(calls: Calls) -> None:
    for fingerprint in ("another", ""):
        failure = refused(calls.add, "a", random_codes(1), fingerprint=fingerprint)
        assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
        assert failure.info.reason == "MODEL_FINGERPRINT_MISMATCH"
        assert calls.fingerprint in failure.message
        assert (fingerprint or "none") in failure.message
    assert calls.held() == []


def test_images_are_refused_where_nothing_encodes_them(calls: Calls) -> None:
    image = common_pb2.Image(format=common_pb2.IMAGE_FORMAT_PNG, data=png())
    failure = refused(calls.add, "a", [common_pb2.Patch(image=image)])
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert failure.info.reason == "NO_ENCODER"


def _patch(**changes: object) -> common_pb2.Patch:
    patch = patch_messages(random_codes(1, 1))[0]
    patch.MergeFrom(common_pb2.Patch(**changes))
    return patch


def _image(image_format: int, data: bytes, **sizes: int) -> common_pb2.Patch:
    return common_pb2.Patch(image=common_pb2.Image(format=image_format, data=data, **sizes))


_PNG, _RGB = common_pb2.IMAGE_FORMAT_PNG, common_pb2.IMAGE_FORMAT_RGB


@pytest.mark.parametrize(
    ("field", "patch"),
    [
        ("patches[1]", common_pb2.Patch()),
        ("patches[1].code.key", _patch(code=common_pb2.Code(key=-1))),
        ("patches[1].code.texture", common_pb2.Patch(code=common_pb2.Code(key=1))),
        (
            "patches[1].code.texture",
            common_pb2.Patch(code=common_pb2.Code(key=1, texture=bytes(15))),
        ),
        ("patches[1].x_px", _patch(x_px=-1)),
        ("patches[1].y_px", _patch(y_px=-1)),
        ("patches[1].image.format", _image(0, b"x")),
        ("patches[1].image.format", _image(99, b"x")),
        ("patches[1].image.data", _image(_PNG, b"")),
        ("patches[1].image.data", _image(_PNG, bytes(1024 * 1024 + 1))),
        ("patches[1].thumbnail", _patch(thumbnail=common_pb2.Image(format=_PNG, data=b"no"))),
        (
            "patches[1].thumbnail.format",
            _patch(thumbnail=common_pb2.Image(format=_RGB, data=b"no")),
        ),
        (
            "patches[1].thumbnail.data",
            _patch(thumbnail=common_pb2.Image(format=_PNG, data=bytes(65 * 1024))),
        ),
    ],
)
def test_a_bad_patch_is_named_and_nothing_is_stored(
    calls: Calls, field: str, patch: common_pb2.Patch
) -> None:
    good = patch_messages(random_codes(2, 2))
    failure = refused(calls.add, "a", [good[0], patch, good[1]])
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in failure.fields
    assert calls.held() == []


def test_a_patch_outside_the_slide_is_refused(calls: Calls) -> None:
    codes = random_codes(1, 1)
    x_px = int(codes.xy[0, 0])
    failure = refused(calls.add, "a", codes, width_px=x_px, height_px=10**6)
    assert failure.fields == ["patches[0].x_px"]


def test_a_slide_of_too_many_patches_is_refused(calls: Calls) -> None:
    failure = refused(calls.add, "a", random_codes(1, 201))
    assert failure.info.reason == "TOO_MANY_PATCHES"
    assert calls.held() == []


def test_a_message_beyond_the_limit_is_refused(calls: Calls) -> None:
    huge = common_pb2.Patch(image=common_pb2.Image(format=_PNG, data=bytes(3 * 1024 * 1024)))
    assert refused(calls.add, "a", [huge]).code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("field", "facts"),
    [
        ("header.slide.patient_id", {"patient_id": "a\nb"}),
        ("header.slide.label", {"label": "x" * 257}),
        ("header.slide.attributes", {"attributes": {str(n): "" for n in range(65)}}),
        ("header.slide.attributes['']", {"attributes": {"": "x"}}),
        ("header.slide.width_px", {"width_px": -1}),
        ("header.slide.mpp", {"mpp": float("nan")}),
        ("header.slide.mpp", {"mpp": -0.5}),
        ("header.slide.source_digest", {"source_digest": "abc"}),
    ],
)
def test_facts_that_make_no_sense_are_refused_with_the_field(
    calls: Calls, field: str, facts: dict[str, object]
) -> None:
    failure = refused(calls.add, "a", random_codes(1), **facts)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in failure.fields


@pytest.mark.parametrize("slide", ["", "a/b", "a\x00b", "line\nbreak", "x" * 257, "ü" * 129])
def test_a_slide_name_that_makes_no_sense_is_refused(calls: Calls, slide: str) -> None:
    failure = refused(calls.add, slide, random_codes(1))
    assert failure.fields == ["header.slide.name"]
    assert failure.info.reason == "INVALID_NAME"


def test_a_stream_in_the_wrong_order_is_refused(calls: Calls) -> None:
    header, *rest = calls.additions("a", random_codes(1))
    for messages, field in (
        ([], "header"),
        ([*rest, header], "patches"),
        ([header, header, *rest], "header"),
        ([slides_pb2.AddSlideRequest()], "header"),
        ([header, slides_pb2.AddSlideRequest()], "patches"),
        ([rest[-1], header], "end"),
        ([header, *rest, rest[0]], "end"),
    ):
        failure = refused(calls.slides.AddSlide, iter(messages), timeout=30)
        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
        assert failure.fields == [field]
    assert calls.held() == []


def test_adding_to_a_collection_that_is_not_there_is_refused(empty: Calls) -> None:
    failure = refused(empty.add, "a", random_codes(1))
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert failure.resource.resource_name == empty.parent


def open_streams(service: ServiceProcess) -> float:
    return service.metric('slidekin_calls_admitted{kind="stream"}')


def test_more_streams_than_the_limit_are_turned_away_with_a_delay(
    service: ServiceProcess, calls: Calls
) -> None:
    finish = threading.Event()

    def open_stream() -> Iterator[slides_pb2.AddSlideRequest]:
        yield next(calls.additions("a", random_codes(1)))
        finish.wait(60)

    eventually(lambda: open_streams(service) == 0)
    held = [calls.slides.AddSlide.future(open_stream(), timeout=60) for _ in range(4)]
    eventually(lambda: open_streams(service) == 4)
    try:
        with pytest.raises(grpc.RpcError) as caught:
            calls.search(random_codes(1))
        failure = Failure.of(caught.value)
        assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert failure.info.reason == "TOO_MANY_STREAMS"
        assert failure.retry.retry_delay.ToMilliseconds() > 0
    finally:
        finish.set()
        for call in held:
            call.cancel()


def test_insertion_order_breaks_ties_between_equal_patches(calls: Calls) -> None:
    codes = random_codes(1, 1)
    for slide in ("z", "a", "m"):
        calls.add(slide, codes)
    hits = calls.search(codes, mode=common_pb2.SEARCH_MODE_EXACT).bags[0].hits
    assert [slide_id(hit.slide) for hit in hits] == ["z", "a", "m"]
    assert np.diff([hit.hamming_distance_bits for hit in hits]).tolist() == [0, 0]
