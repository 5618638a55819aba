"""Searches, over a real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest
from tests.service_calls import (
    FINGERPRINT,
    TEXTURE_BITS,
    THRESHOLD_BITS,
    Calls,
    Failure,
    batches,
    near_codes,
    patch_messages,
    random_codes,
    slide_id,
)

from slidekin.v1 import common_pb2, search_pb2

GUIDED = common_pb2.SEARCH_MODE_GUIDED
EXACT = common_pb2.SEARCH_MODE_EXACT
HYBRID = common_pb2.SEARCH_MODE_HYBRID


def fill(calls: Calls, *, groups: int = 3, each: int = 4) -> None:
    """Groups of slides that look alike, two slides a patient, a label for each group."""
    for group in range(groups):
        for number in range(each):
            calls.add(
                f"{group}-{number}",
                near_codes(random_codes(group), 100 * group + number),
                label=f"label-{group}",
                patient_id=f"p{group}-{number // 2}",
                attributes={"half": str(number % 2)},
            )


def refused(call: object, *arguments: object, **options: object) -> Failure:
    assert callable(call)
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return Failure.of(caught.value)


def test_slides_that_look_alike_come_first(calls: Calls) -> None:
    fill(calls)
    found = calls.search(random_codes(1), k=4)
    assert sorted(found.slides) == ["1-0", "1-1", "1-2", "1-3"]
    assert [slide.rank for slide in found.ranked.slides] == [1, 2, 3, 4]
    assert {slide.slide.label for slide in found.ranked.slides} == {"label-1"}
    assert all(slide.hamming_distance_bits <= THRESHOLD_BITS for slide in found.ranked.slides)
    assert found.ranked.query_patch_count == 8
    assert found.ranked.model_fingerprint == FINGERPRINT
    assert not found.ranked.random_weights
    assert found.ranked.index_version == calls.get().index_version
    assert not found.ranked.short_reasons
    assert found.ranked.timings.total.ToMicroseconds() > 0


def test_every_patch_gets_its_hits_with_coordinates(calls: Calls) -> None:
    fill(calls)
    query = random_codes(2)
    found = calls.search(query, max_hits_per_patch=2)
    assert sorted(found.bags) == list(range(8))
    for bag in found.bags.values():
        assert len(bag.hits) == 2
        assert bag.hit_count == 4
        distances = [hit.hamming_distance_bits for hit in bag.hits]
        assert distances == sorted(distances)
        for hit in bag.hits:
            x, y = query.xy[bag.query_patch_index].tolist()
            assert (hit.x_px, hit.y_px, hit.patch_index) == (x, y, bag.query_patch_index)
            assert hit.slide.startswith(f"{calls.parent}/slides/2-")
    assert all(not bag.hits for bag in calls.search(query, max_hits_per_patch=0).bags.values())


def test_evidence_pairs_query_patches_with_matched_ones(calls: Calls) -> None:
    fill(calls)
    query = random_codes(0)
    for slide in calls.search(query, k=4, max_evidence_per_slide=2).ranked.slides:
        assert 1 <= len(slide.evidence) <= 2
        for pair in slide.evidence:
            x, y = query.xy[pair.query_patch_index].tolist()
            assert (pair.query_x_px, pair.query_y_px) == (x, y)
            assert pair.hit.slide == slide.slide.name
    bare = calls.search(query, max_evidence_per_slide=0)
    assert not any(slide.evidence for slide in bare.ranked.slides)


def test_excluded_patients_and_slides_do_not_come_back(calls: Calls) -> None:
    fill(calls)
    query = random_codes(1)

    def found(**conditions: object) -> set[str]:
        slides = calls.search(query, k=4, filter=common_pb2.SlideFilter(**conditions)).slides
        return {slide for slide in slides if slide.startswith("1-")}

    assert found(exclude_patient_ids=["p1-0"]) == {"1-2", "1-3"}
    assert found(exclude_slides=[calls.name("1-3")]) == {"1-0", "1-1", "1-2"}
    half = common_pb2.AttributeCondition(attribute="half", values=["1"])
    assert found(attributes=[half]) == {"1-1", "1-3"}
    assert found(labels=["label-0"]) == set()


def test_a_stored_slide_finds_its_kin_but_not_itself(calls: Calls) -> None:
    fill(calls)
    request = search_pb2.SearchStoredSlideRequest(
        name=calls.name("0-0"), options=search_pb2.SearchOptions(k=3)
    )
    answer = calls.searches.SearchStoredSlide(request)
    found = [slide_id(slide.slide.name) for slide in answer.ranked_slides.slides]
    assert sorted(found) == ["0-1", "0-2", "0-3"]
    assert [bag.query_patch_index for bag in answer.patch_hits] == list(range(8))
    streamed = calls.search(
        near_codes(random_codes(0), 0),
        k=3,
        filter=common_pb2.SlideFilter(exclude_slides=[calls.name("0-0")]),
    )
    assert streamed.slides == found


def test_patches_are_answered_in_the_order_asked(calls: Calls) -> None:
    fill(calls)
    query = near_codes(random_codes(2), 7)
    request = search_pb2.SearchPatchesRequest(
        parent=calls.parent,
        model_fingerprint=FINGERPRINT,
        patches=reversed(patch_messages(query)),
        options=search_pb2.SearchOptions(mode=EXACT),
    )
    answer = calls.searches.SearchPatches(request)
    assert [bag.query_patch_index for bag in answer.patch_hits] == list(range(8))
    assert [bag.hits[0].patch_index for bag in answer.patch_hits] == list(reversed(range(8)))
    assert answer.index_version == calls.get().index_version
    assert answer.model_fingerprint == FINGERPRINT


def test_hits_come_back_while_the_stream_is_open(calls: Calls) -> None:
    fill(calls)
    first_hits = threading.Event()

    def questions() -> Iterator[search_pb2.SearchSlideRequest]:
        header, *rest = calls.questions(random_codes(1))
        yield header
        yield rest[0]
        assert first_hits.wait(30), "no hit came back before the stream was closed"
        yield from rest[1:]

    kinds = []
    for answer in calls.searches.SearchSlide(questions(), timeout=60):
        first_hits.set()
        kinds.append(answer.WhichOneof("payload"))
    assert kinds == ["patch_hits"] * 8 + ["ranked_slides"]


def test_a_refusal_does_not_wait_for_the_end_of_the_stream(calls: Calls) -> None:
    wrong_width = random_codes(1, texture_bits=64)
    release = threading.Event()

    def questions() -> Iterator[search_pb2.SearchSlideRequest]:
        yield from list(calls.questions(wrong_width))[:2]
        release.wait(60)

    failure = refused(calls.search_stream, questions())
    assert not release.is_set()
    release.set()
    assert failure.info.reason == "TEXTURE_WIDTH"


def test_each_mode_says_which_search_answered(calls: Calls) -> None:
    fill(calls)
    known, unknown = random_codes(1), random_codes(99)

    def modes(query: object, mode: int, **options: object) -> dict[int, int]:
        ranked = calls.search(query, mode=mode, **options).ranked  # type: ignore[arg-type]
        return {one.mode: one.patches for one in ranked.modes}

    assert modes(known, GUIDED) == {GUIDED: 8}
    assert modes(known, EXACT) == {EXACT: 8}
    assert modes(known, HYBRID) == {GUIDED: 8}
    # Nothing lies within the threshold: the full scan is asked for every patch.
    assert modes(unknown, HYBRID) == {EXACT: 8}
    assert modes(unknown, GUIDED) == {GUIDED: 8}


def test_exact_and_guided_agree_where_the_walk_reaches_everything(calls: Calls) -> None:
    fill(calls)
    query = random_codes(0)
    wide = search_pb2.GuidedParameters(successor_steps=10_000, predecessor_steps=10_000)
    guided = calls.search(query, mode=GUIDED, guided=wide, max_hits_per_patch=100)
    exact = calls.search(query, mode=EXACT, max_hits_per_patch=100)
    for patch in range(8):
        assert {(h.slide, h.patch_index) for h in guided.bags[patch].hits} == {
            (h.slide, h.patch_index) for h in exact.bags[patch].hits
        }


@pytest.mark.parametrize("mode", [HYBRID, EXACT])
def test_k_slides_come_back_wherever_k_are_admitted(calls: Calls, mode: int) -> None:
    fill(calls)
    for query in (random_codes(1), random_codes(99)):
        for k in (1, 5, 12):
            found = calls.search(query, k=k, mode=mode)
            assert len(found.slides) == len(set(found.slides)) == k
    admitted = common_pb2.SlideFilter(labels=["label-0", "label-2"])
    found = calls.search(random_codes(1), k=8, mode=mode, filter=admitted)
    assert len(found.slides) == 8
    assert search_pb2.SHORT_REASON_NO_HITS in found.ranked.short_reasons
    assert "filled up" in found.ranked.short_messages[-1]
    assert all(
        slide.method == search_pb2.RANKING_METHOD_LABEL_FREE and slide.HasField("score")
        for slide in found.ranked.slides
    )


def test_slides_that_were_filled_up_stand_behind_those_that_were_ranked(calls: Calls) -> None:
    fill(calls)
    found = calls.search(random_codes(1), k=12)
    assert all(slide.startswith("1-") for slide in found.slides[:4])
    methods = [slide.method for slide in found.ranked.slides]
    ranked = methods.count(search_pb2.RANKING_METHOD_UNCERTAINTY)
    assert ranked >= 1
    assert methods == [search_pb2.RANKING_METHOD_UNCERTAINTY] * ranked + [
        search_pb2.RANKING_METHOD_LABEL_FREE
    ] * (12 - ranked)


def test_a_short_list_says_why(calls: Calls, empty: Calls) -> None:
    def reasons(**options: object) -> list[int]:
        ranked = calls.search(random_codes(1), **options).ranked
        assert len(ranked.short_messages) == len(ranked.short_reasons)
        return list(ranked.short_reasons)

    assert reasons() == [search_pb2.SHORT_REASON_EMPTY_COLLECTION]
    fill(calls)
    assert reasons(k=20)[0] == search_pb2.SHORT_REASON_SMALL_COLLECTION
    two = common_pb2.SlideFilter(slides=[calls.name("1-0"), calls.name("1-1")])
    assert reasons(k=3, filter=two) == [search_pb2.SHORT_REASON_FILTER]
    assert reasons(k=8, mode=GUIDED) == [search_pb2.SHORT_REASON_NO_HITS]
    assert reasons(k=8, profile="sish-2022")[0] == search_pb2.SHORT_REASON_NO_HITS
    assert reasons(k=4) == []


def test_the_published_profile_fills_nothing_up(calls: Calls) -> None:
    fill(calls)
    assert calls.search(random_codes(99), profile="sish-2022").slides == []
    found = calls.search(random_codes(99), profile="sish-2022", mode=HYBRID)
    assert found.slides == []
    filled = calls.search(
        random_codes(99),
        profile="sish-2022",
        mode=HYBRID,
        fallback=search_pb2.RANKING_FALLBACK_LABEL_FREE,
    )
    assert len(filled.slides) == 5


def test_slides_without_labels_are_ranked_all_the_same(calls: Calls) -> None:
    codes = random_codes(1)
    for number in range(3):
        calls.add(f"s{number}", near_codes(codes, number))
    found = calls.search(codes, k=3)
    assert sorted(found.slides) == ["s0", "s1", "s2"]
    assert found.ranked.slides[0].method == search_pb2.RANKING_METHOD_LABEL_FREE
    strict = calls.search(codes, profile="sish-2022")
    assert strict.slides == []
    assert strict.ranked.short_reasons[-1] == search_pb2.SHORT_REASON_NO_LABELS


def test_the_way_to_a_ranking_is_told_when_asked_for(calls: Calls) -> None:
    fill(calls)
    assert not calls.search(random_codes(1)).ranked.HasField("details")
    details = calls.search(
        random_codes(1), include_ranking_details=True, label_weight_sum=30
    ).ranked.details
    assert sum(details.label_weights.values()) == pytest.approx(30)
    assert set(details.entropies) == set(range(8))
    assert set(details.kept) <= set(range(8))
    assert 0 < details.hamming_threshold <= THRESHOLD_BITS


def test_the_threshold_is_the_collections_unless_stated(calls: Calls) -> None:
    codes = random_codes(1)
    calls.add("near", near_codes(codes, 1, flips=THRESHOLD_BITS))
    calls.add("far", near_codes(codes, 2, flips=THRESHOLD_BITS + 1))

    def hits(**options: object) -> set[str]:
        found = calls.search(codes, mode=GUIDED, **options)
        return {slide_id(hit.slide) for bag in found.bags.values() for hit in bag.hits}

    assert hits() == {"near"}
    assert hits(hamming_threshold_bits=THRESHOLD_BITS + 1) == {"near", "far"}
    assert hits(hamming_threshold_bits=THRESHOLD_BITS - 1) == set()


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("options.k", {"k": 0}),
        ("options.k", {"k": -1}),
        ("options.k", {"k": 51}),
        ("options.k", {"k": 10**9}),
        ("options.mode", {"mode": 77}),
        ("options.profile", {"profile": "sish-2023"}),
        ("options.hamming_threshold_bits", {"hamming_threshold_bits": -1}),
        ("options.hamming_threshold_bits", {"hamming_threshold_bits": TEXTURE_BITS + 1}),
        ("options.ranking", {"ranking": 9}),
        ("options.fallback", {"fallback": 9}),
        ("options.label_weight_sum", {"label_weight_sum": 0.0}),
        ("options.label_weight_sum", {"label_weight_sum": float("nan")}),
        ("options.max_hits_per_patch", {"max_hits_per_patch": -1}),
        ("options.max_hits_per_patch", {"max_hits_per_patch": 10**6}),
        ("options.max_evidence_per_slide", {"max_evidence_per_slide": -1}),
        ("options.max_evidence_per_slide", {"k": 101, "max_evidence_per_slide": 1000}),
        ("options.guided.seed_spacing", {"guided": {"seed_spacing": 0}}),
        ("options.guided.seeds_per_side", {"guided": {"seeds_per_side": 10**9}}),
        ("options.guided.successor_steps", {"guided": {"successor_steps": -1}}),
        ("options.filter.slides[0]", {"filter": {"slides": ["nonsense"]}}),
        ("options.filter.slides[0]", {"filter": {"slides": ["collections/other/slides/a"]}}),
        ("options.filter.exclude_slides[0]", {"filter": {"exclude_slides": [""]}}),
        ("options.filter.labels[0]", {"filter": {"labels": [""]}}),
        ("options.filter.attributes[0].attribute", {"filter": {"attributes": [{}]}}),
    ],
)
def test_options_that_make_no_sense_are_refused_with_the_field(
    calls: Calls, field: str, options: dict[str, object]
) -> None:
    failure = refused(calls.search, random_codes(1), **options)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in failure.fields
    request = search_pb2.SearchStoredSlideRequest(
        name=calls.name("a"), options=search_pb2.SearchOptions(**options)
    )
    assert field in refused(calls.searches.SearchStoredSlide, request).fields


def test_one_answer_names_every_fault(calls: Calls) -> None:
    failure = refused(calls.search, random_codes(1), k=0, profile="x", max_hits_per_patch=-1)
    assert failure.fields == ["options.profile", "options.k", "options.max_hits_per_patch"]


def test_a_query_without_patches_is_refused(calls: Calls) -> None:
    failure = refused(calls.search, random_codes(1, 0))
    assert failure.info.reason == "EMPTY_QUERY"
    nothing = search_pb2.SearchPatchesRequest(parent=calls.parent)
    assert refused(calls.searches.SearchPatches, nothing).fields == ["patches"]


def test_a_query_of_another_model_or_width_is_refused(calls: Calls) -> None:
    failure = refused(calls.search, random_codes(1), fingerprint="another")
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert failure.info.reason == "MODEL_FINGERPRINT_MISMATCH"
    failure = refused(calls.search, random_codes(1, texture_bits=64))
    assert failure.info.reason == "TEXTURE_WIDTH"
    assert failure.fields == ["patches[0].code.texture"]
    assert "64" in failure.message
    assert str(TEXTURE_BITS) in failure.message


def test_a_search_stream_in_the_wrong_order_is_refused(calls: Calls) -> None:
    header, *rest = calls.questions(random_codes(1))
    for messages, field in (
        ([], "header"),
        ([*rest, header], "patches"),
        ([header, header], "header"),
        ([header, search_pb2.SearchSlideRequest()], "patches"),
    ):
        assert refused(calls.search_stream, messages).fields == [field]


def test_searching_what_is_not_there_is_refused(calls: Calls, empty: Calls) -> None:
    other = Calls(calls.channel, "not-created")
    assert refused(other.search, random_codes(1)).code is grpc.StatusCode.NOT_FOUND
    stored = search_pb2.SearchStoredSlideRequest(name=calls.name("missing"))
    failure = refused(calls.searches.SearchStoredSlide, stored)
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert failure.resource.resource_name == calls.name("missing")


def test_hits_come_in_batches_where_the_caller_asks_for_them(calls: Calls) -> None:
    fill(calls)
    query = random_codes(1, 200)
    one_by_one = calls.search(query).bags
    header, *rest = calls.questions(query)
    header.header.batch_hits = True
    *batched, ranked = calls.searches.SearchSlide(iter([header, *rest]), timeout=60)
    assert ranked.WhichOneof("payload") == "ranked_slides"
    assert {answer.WhichOneof("payload") for answer in batched} == {"patch_hits_batch"}
    assert len(batched) < 200 / 4
    bags = [bag for answer in batched for bag in answer.patch_hits_batch.patch_hits]
    assert {bag.query_patch_index: bag for bag in bags} == one_by_one
    assert len(bags) == len(one_by_one) == 200


def test_a_caller_who_reads_late_gets_everything(calls: Calls) -> None:
    fill(calls)
    query = random_codes(1, 200)
    messages = [next(calls.questions(query))]
    messages += [
        search_pb2.SearchSlideRequest(patches=batch)
        for batch in batches(patch_messages(query), size=50)
    ]
    sent = threading.Event()

    def questions() -> Iterator[search_pb2.SearchSlideRequest]:
        yield from messages
        sent.set()

    answers = calls.searches.SearchSlide(questions(), timeout=60)
    assert sent.wait(30)
    kinds = [answer.WhichOneof("payload") for answer in answers]
    assert kinds == ["patch_hits"] * 200 + ["ranked_slides"]
