"""The index of a collection: what it accepts, what it refuses, and what a refusal leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from slidekin_server.index import (
    Admitted,
    CollectionIndex,
    GuidedParameters,
    ParameterError,
    SlideExistsError,
    SlideNotFoundError,
)
from slidekin_server.values import PatchCodes, SearchMode

BITS = 1280
WIDTH = BITS // 8


def make_codes(keys: list[int], *, fill: int = 0, bits: int = BITS) -> PatchCodes:
    """Make a slide whose textures are all alike."""
    return PatchCodes(
        keys=np.array(keys, dtype=np.int64),
        textures=np.full((len(keys), bits // 8), fill, dtype=np.uint8),
        xy=np.zeros((len(keys), 2), dtype=np.int32),
    )


def test_an_empty_index_answers_with_empty_bags() -> None:
    snapshot = CollectionIndex(BITS).snapshot()
    texture = np.zeros(WIDTH, dtype=np.uint8)
    for admitted in (None, Admitted.only([1, 2]), Admitted.all_except([1])):
        assert len(snapshot.guided(5, texture, GuidedParameters(), admitted)) == 0
        for per_slide in (False, True):
            (bag,) = snapshot.exact(
                texture[None], limit=3, admitted=admitted, best_per_slide=per_slide
            )
            assert len(bag) == 0
            assert bag.mode is SearchMode.EXACT
    assert (snapshot.version, snapshot.patches, snapshot.slides) == (0, 0, 0)


def test_building_from_no_slides_is_an_empty_index() -> None:
    assert len(CollectionIndex.build(BITS, [])) == 0


def test_sizes_and_versions_follow_the_changes() -> None:
    index = CollectionIndex(BITS)
    index.add_slide(3, make_codes([5, 5, 9]))
    index.add_slide(8, make_codes([]))
    assert (index.version, len(index), index.snapshot().slides) == (2, 3, 2)
    assert 3 in index
    assert 8 in index
    assert 4 not in index
    assert -1 not in index
    index.replace_slide(3, 10, make_codes([1]))
    assert (index.version, len(index), index.snapshot().slides) == (3, 1, 2)
    assert 3 not in index
    assert index.snapshot().slide_numbers().tolist() == [8, 10]


def test_of_equal_patches_under_a_key_the_first_inserted_is_found() -> None:
    index = CollectionIndex(BITS)
    for number in (7, 2, 5):
        index.add_slide(number, make_codes([100, 100]))
    parameters = GuidedParameters()
    texture = np.zeros(WIDTH, dtype=np.uint8)
    for key in (99, 101):
        bag = index.snapshot().guided(key, texture, parameters)
        assert (bag.slides.tolist(), bag.patches.tolist()) == ([2], [0])


def test_the_seed_key_itself_is_found_only_where_asked_for() -> None:
    index = CollectionIndex.build(BITS, [(0, make_codes([100]))])
    texture = np.zeros(WIDTH, dtype=np.uint8)
    published = index.snapshot().guided(100, texture, GuidedParameters(T=1))
    own = index.snapshot().guided(100, texture, GuidedParameters(T=1, include_seed_key=True))
    assert published.keys.tolist() == []
    assert own.keys.tolist() == [100]


def test_one_key_may_hold_more_patches_than_many_blocks() -> None:
    index = CollectionIndex(BITS)
    for number in range(12):
        index.add_slide(number, make_codes([42] * 100, fill=number))
    index._check()
    texture = np.full(WIDTH, 9, dtype=np.uint8)
    bag = index.snapshot().guided(41, texture, GuidedParameters(T=1))
    assert (bag.slides.tolist(), bag.distances.tolist()) == ([9], [0])
    for number in range(0, 12, 2):
        index.remove_slide(number)
    index._check()


def test_textures_need_not_lie_in_a_certain_way_in_memory() -> None:
    wide = np.zeros((4, 2 * WIDTH), dtype=np.uint8)
    wide[:, ::2] = 7
    wide.setflags(write=False)
    codes = make_codes([1, 2, 3, 4])
    strided = PatchCodes(codes.keys, wide[:, ::2], codes.xy)
    shifted = np.frombuffer(b"x" + b"\x07" * WIDTH, dtype=np.uint8)[1:]
    for index in (CollectionIndex.build(BITS, [(0, strided)]), CollectionIndex(BITS)):
        if not len(index):
            index.add_slide(0, strided)
        for texture in (wide[0, ::2], shifted):
            bag = index.snapshot().guided(0, texture, GuidedParameters())
            assert bag.distances.tolist() == [0, 0, 0, 0]


def test_the_index_keeps_nothing_of_what_it_was_given() -> None:
    codes = make_codes([1, 2])
    index = CollectionIndex.build(BITS, [(0, codes)])
    index.add_slide(1, codes)
    codes.keys[:] = 99
    codes.textures[:] = 255
    index._check()
    texture = np.zeros(WIDTH, dtype=np.uint8)
    bag = index.snapshot().guided(0, texture, GuidedParameters())
    assert (bag.keys.tolist(), bag.distances.tolist()) == ([1, 2], [0, 0])


@pytest.mark.parametrize("bits", [0, -64, 100])
def test_a_width_that_is_no_multiple_of_64_is_refused(bits: int) -> None:
    with pytest.raises(ParameterError, match="texture_bits: must be a positive multiple of 64"):
        CollectionIndex(bits)


def _wrong_type(codes: PatchCodes) -> PatchCodes:
    return PatchCodes(codes.keys.astype(np.float64), codes.textures, codes.xy)  # type: ignore[arg-type]


BAD_SLIDES = {
    "negative number": (-1, make_codes([1]), "number: must lie in"),
    "number too large": (2**31, make_codes([1]), "number: must lie in"),
    "negative key": (5, make_codes([1, -1]), "slide 5: must not be negative"),
    "key type": (5, _wrong_type(make_codes([1])), "slide 5: must be int64"),
    "width": (5, make_codes([1], bits=1024), r"slide 5: must be uint8 of shape \(1, 160\)"),
}


@pytest.mark.parametrize("bad", BAD_SLIDES)
def test_a_slide_that_does_not_fit_is_refused_and_changes_nothing(bad: str) -> None:
    number, codes, complaint = BAD_SLIDES[bad]
    index = CollectionIndex.build(BITS, [(0, make_codes([3]))])
    with pytest.raises(ParameterError, match=complaint):
        index.add_slide(number, codes)
    with pytest.raises(ParameterError, match=complaint):
        index.replace_slide(0, number, codes)
    with pytest.raises(ParameterError, match=complaint):
        CollectionIndex.build(BITS, [(0, make_codes([3])), (number, codes)])
    index._check()
    assert index.version == 1
    assert 0 in index


def test_a_number_is_given_once() -> None:
    index = CollectionIndex.build(BITS, [(0, make_codes([3])), (1, make_codes([4]))])
    with pytest.raises(SlideExistsError, match="slide number 1"):
        index.add_slide(1, make_codes([9]))
    with pytest.raises(SlideExistsError, match="slide number 1"):
        index.replace_slide(0, 1, make_codes([9]))
    with pytest.raises(SlideExistsError, match="slide number 2"):
        CollectionIndex.build(BITS, [(2, make_codes([3])), (2, make_codes([4]))])
    index.remove_slide(1)
    with pytest.raises(SlideExistsError, match="slide number 1"):
        index.add_slide(1, make_codes([9]))
    index._check()
    assert index.snapshot().slide_numbers().tolist() == [0]


def test_an_unknown_slide_cannot_go() -> None:
    index = CollectionIndex.build(BITS, [(0, make_codes([3]))])
    for number in (1, 10**6, -1):
        with pytest.raises(SlideNotFoundError, match=f"slide number {number} "):
            index.remove_slide(number)
        with pytest.raises(SlideNotFoundError, match=f"slide number {number} "):
            index.replace_slide(number, 5, make_codes([1]))
    index._check()
    assert index.version == 1
    index.add_slide(5, make_codes([1]))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("C", 0),
        ("C", 2**40),
        ("C", 2.5),
        ("T", 0),
        ("T", 10**6),
        ("successor_steps", -1),
        ("predecessor_steps", -1),
        ("hamming_threshold_bits", -1),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=f"^{field}: ") as caught:
        GuidedParameters(**{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("key", {"key": -1}),
        ("key", {"key": 2**63}),
        ("texture", {"texture": np.zeros(128, dtype=np.uint8)}),
        ("texture", {"texture": np.zeros(WIDTH, dtype=np.int64)}),
        ("texture", {"texture": np.zeros((1, WIDTH), dtype=np.uint8)}),
    ],
)
def test_a_guided_query_that_does_not_fit_is_refused(field: str, arguments: dict[str, Any]) -> None:
    snapshot = CollectionIndex(BITS).snapshot()
    given = {"key": 1, "texture": np.zeros(WIDTH, dtype=np.uint8), "parameters": GuidedParameters()}
    with pytest.raises(ParameterError, match=f"^{field}: "):
        snapshot.guided(**(given | arguments))


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("limit", {"limit": 0}),
        ("max_distance_bits", {"max_distance_bits": -1}),
        ("textures", {"textures": np.zeros(WIDTH, dtype=np.uint8)}),
        ("textures", {"textures": np.zeros((1, 8), dtype=np.uint8)}),
    ],
)
def test_an_exact_query_that_does_not_fit_is_refused(field: str, arguments: dict[str, Any]) -> None:
    snapshot = CollectionIndex(BITS).snapshot()
    given = {"limit": 1, "textures": np.zeros((1, WIDTH), dtype=np.uint8)}
    with pytest.raises(ParameterError, match=f"^{field}: "):
        snapshot.exact(**(given | arguments))


def test_no_queries_give_no_bags() -> None:
    index = CollectionIndex.build(BITS, [(0, make_codes([3]))])
    assert index.snapshot().exact(np.empty((0, WIDTH), dtype=np.uint8), limit=1) == []


def test_a_limit_beyond_all_patches_gives_all_patches() -> None:
    index = CollectionIndex.build(BITS, [(0, make_codes([3, 4]))])
    for per_slide, expected in ((False, 2), (True, 1)):
        (bag,) = index.snapshot().exact(
            np.zeros((1, WIDTH), dtype=np.uint8), limit=10**9, best_per_slide=per_slide
        )
        assert len(bag) == expected


def test_admitted_knows_what_it_admits() -> None:
    only, without = Admitted.only([2, 5]), Admitted.all_except([2, 5])
    assert [number in only for number in (-1, 1, 2, 5, 6, 10**9)] == [
        False, False, True, True, False, False,
    ]  # fmt: skip
    assert [number in without for number in (1, 2, 5, 6, 10**9)] == [
        True, False, False, True, True,
    ]  # fmt: skip
    assert 0 not in Admitted.only([])
    assert 0 in Admitted.all_except([])
    with pytest.raises(ParameterError, match="slide numbers must lie in"):
        Admitted.only([-1])


def test_a_filter_made_once_serves_every_version() -> None:
    index = CollectionIndex.build(BITS, [(0, make_codes([3])), (1, make_codes([4]))])
    admitted = Admitted.all_except([0])
    texture = np.zeros(WIDTH, dtype=np.uint8)
    before = index.snapshot()
    assert before.guided(0, texture, GuidedParameters(), admitted).slides.tolist() == [1]
    index.add_slide(2, make_codes([5]))
    after = index.snapshot()
    assert after.guided(0, texture, GuidedParameters(), admitted).slides.tolist() == [1, 2]
    assert before.guided(0, texture, GuidedParameters(), admitted).slides.tolist() == [1]
