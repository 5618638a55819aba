"""What only shows with more patches than one chunk, one segment or one thread takes."""

from __future__ import annotations

import numpy as np
import pytest

from slidekin_server.index import CollectionIndex, GuidedParameters, SlideExistsError
from slidekin_server.values import Bag, PatchCodes

BITS = 192
SLIDES = 1200
EVERYTHING = GuidedParameters(
    successor_steps=100, predecessor_steps=100, hamming_threshold_bits=90, include_seed_key=True
)


def slides(seed: int = 0) -> list[tuple[int, PatchCodes]]:
    """72,000 patches: more than two chunks of intake, enough blocks for two threads."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(3, 3 + SLIDES):
        keys = rng.integers(0, 50, 60) * 10**12 + rng.integers(0, 200, 60)
        textures = rng.integers(0, 256, (60, BITS // 8), dtype=np.uint8)
        made.append((number, PatchCodes(keys, textures, np.zeros((60, 2), dtype=np.int32))))
    return made


def rows(bag: Bag) -> list[list[int]]:
    columns = (bag.keys, bag.distances, bag.slides, bag.patches)
    return np.stack([column.astype(np.int64) for column in columns], axis=1).tolist()


@pytest.fixture(scope="module")
def index() -> CollectionIndex:
    return CollectionIndex.build(BITS, iter(slides()))


def test_a_bulk_build_holds_every_patch_in_order(index: CollectionIndex) -> None:
    index._check()
    assert len(index) == 60 * SLIDES
    number, codes = slides()[777]
    nearest = index.snapshot().exact(codes.textures, limit=1)
    assert [rows(bag)[0] for bag in nearest] == [
        [key, 0, number, patch] for patch, key in enumerate(codes.keys.tolist())
    ]


def test_a_bulk_build_does_not_depend_on_the_order_of_slides(index: CollectionIndex) -> None:
    shuffled = slides()
    np.random.default_rng(1).shuffle(shuffled)
    other = CollectionIndex.build(BITS, iter(shuffled))
    other._check()
    _, codes = slides(seed=5)[0]
    one, two = index.snapshot(), other.snapshot()
    for key, texture in zip(codes.keys.tolist(), codes.textures, strict=True):
        bags = [snapshot.guided(key, texture, EVERYTHING) for snapshot in (one, two)]
        assert rows(bags[0]) == rows(bags[1])
        assert len(bags[0])


def test_a_bulk_build_refuses_a_number_that_comes_twice() -> None:
    (number, codes), *_ = slides()
    with pytest.raises(SlideExistsError, match=str(number)):
        CollectionIndex.build(BITS, [(9, codes), (number, codes), (number, codes)])


def test_slides_come_and_go_after_a_bulk_build() -> None:
    index = CollectionIndex.build(BITS, iter(slides()))
    _, codes = slides(seed=7)[0]
    index.remove_slide(500)
    index.replace_slide(501, 5000, codes)
    index._check()
    assert rows(index.snapshot().exact(codes.textures[:1], limit=1)[0])[0][1:] == [0, 5000, 0]


@pytest.mark.parametrize("best_per_slide", [False, True])
@pytest.mark.parametrize("within_bits", [None, 75])
def test_a_scan_does_not_depend_on_the_number_of_threads(
    index: CollectionIndex, *, best_per_slide: bool, within_bits: int | None
) -> None:
    snapshot = index.snapshot()
    _, codes = slides(seed=3)[0]
    one, two, many = (
        snapshot.exact(
            codes.textures[:7],
            limit=40,
            max_distance_bits=within_bits,
            best_per_slide=best_per_slide,
            threads=threads,
        )
        for threads in (1, 2, 64)
    )
    assert [rows(bag) for bag in one] == [rows(bag) for bag in two] == [rows(bag) for bag in many]
    assert any(len(bag) for bag in one)
    if best_per_slide:
        assert all(len(set(bag.slides.tolist())) == len(bag) for bag in one)
