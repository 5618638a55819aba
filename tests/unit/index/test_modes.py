"""What each search mode promises, and that the first search waits for no compiler."""

from __future__ import annotations

import numpy as np
import pytest

from slidekin_server.index import (
    Admitted,
    CollectionIndex,
    GuidedParameters,
    ParameterError,
    SearchOptions,
    blocks,
    exact,
    exact_bags,
    guided,
    search_patch,
    warm_up,
)
from slidekin_server.ranking import RankingMethod, SlideLabels, rank
from slidekin_server.values import Bag, PatchCodes, SearchMode

BITS = 1024


@pytest.fixture(scope="module")
def slides() -> list[tuple[int, PatchCodes]]:
    """Sixty slides whose textures are random: no two are near each other."""
    rng = np.random.default_rng(8)
    return [
        (
            number,
            PatchCodes(
                keys=rng.integers(0, 8 * 10**14, 20),
                textures=rng.integers(0, 256, (20, BITS // 8), dtype=np.uint8),
                xy=np.zeros((20, 2), dtype=np.int32),
            ),
        )
        for number in range(60)
    ]


@pytest.fixture(scope="module")
def index(slides: list[tuple[int, PatchCodes]]) -> CollectionIndex:
    return CollectionIndex.build(BITS, slides)


def _columns(bag: Bag) -> list[list[int]]:
    return [c.tolist() for c in (bag.keys, bag.distances, bag.slides, bag.patches)]


def test_each_mode_says_what_made_its_bag(
    index: CollectionIndex, slides: list[tuple[int, PatchCodes]]
) -> None:
    codes = slides[3][1]
    key, texture = int(codes.keys[0]), codes.textures[0]
    for mode in (SearchMode.GUIDED, SearchMode.EXACT):
        bag = search_patch(index.snapshot(), key, texture, SearchOptions(mode=mode))
        assert bag.mode is mode


def test_hybrid_is_guided_where_the_walk_finds_enough(
    index: CollectionIndex, slides: list[tuple[int, PatchCodes]]
) -> None:
    codes = slides[3][1]
    key, texture = int(codes.keys[0]), codes.textures[0]
    snapshot, options = index.snapshot(), SearchOptions()
    bag = search_patch(snapshot, key, texture, options)
    assert bag.mode is SearchMode.GUIDED
    assert (bag.slides.tolist(), bag.distances.tolist()) == ([3], [0])
    assert _columns(bag) == _columns(snapshot.guided(key, texture, options.guided))


def test_hybrid_is_exact_where_the_walk_comes_back_short(
    index: CollectionIndex, slides: list[tuple[int, PatchCodes]]
) -> None:
    codes = slides[3][1]
    key, texture = int(codes.keys[0]), codes.textures[0]
    snapshot = index.snapshot()
    options = SearchOptions(min_hits=2, exact_limit=30)
    bag = search_patch(snapshot, key, texture, options)
    assert bag.mode is SearchMode.EXACT
    assert len(bag) == 30
    assert _columns(bag) == _columns(snapshot.exact(texture[None], limit=30)[0])


@pytest.mark.parametrize("k", [1, 5, 59, 60, 100])
def test_exact_bags_rank_to_k_slides_wherever_k_are_admitted(
    index: CollectionIndex, slides: list[tuple[int, PatchCodes]], k: int
) -> None:
    admitted = Admitted.all_except([3])
    bags = exact_bags(index.snapshot(), slides[3][1].textures, slides_wanted=k, admitted=admitted)
    ranking = rank(
        bags, SlideLabels.of({}), k=k, texture_bits=BITS, method=RankingMethod.LABEL_FREE
    )
    assert len(ranking.slides) == min(k, 59)
    assert all(len(set(bag.slides.tolist())) == len(bag) for bag in bags)
    assert 3 not in {entry.slide for entry in ranking.slides}


@pytest.mark.parametrize(
    ("field", "value"), [("min_hits", -1), ("exact_limit", 0), ("exact_max_distance_bits", -1)]
)
def test_an_option_out_of_range_is_refused_by_name(field: str, value: int) -> None:
    with pytest.raises(ParameterError, match=f"^{field}: "):
        SearchOptions(**{field: value})


def test_after_the_warm_up_nothing_is_left_to_compile(
    slides: list[tuple[int, PatchCodes]],
) -> None:
    """Arrays that are read-only, strided or unaligned are other types to the compiler."""
    assert warm_up() > 0
    codes = slides[0][1]
    frozen = np.frombuffer(b"x" + codes.textures.tobytes(), dtype=np.uint8)[1:]
    textures = frozen.reshape(codes.textures.shape)
    index = CollectionIndex(BITS)
    index.add_slide(0, PatchCodes(codes.keys, textures, codes.xy))
    index.add_slide(np.int32(7), slides[1][1])  # type: ignore[arg-type]
    index.remove_slide(np.int64(0))  # type: ignore[arg-type]
    for admitted in (None, Admitted.only([7]), Admitted.all_except([3])):
        for mode in SearchMode:
            options = SearchOptions(mode=mode, guided=GuidedParameters())
            search_patch(index.snapshot(), codes.keys[0], textures[0], options, admitted)
        exact_bags(index.snapshot(), textures[::2], slides_wanted=3, admitted=admitted)
    kernels = [
        guided.guided_hits,
        exact.nearest,
        exact.nearest_of_each_slide,
        *(blocks.plan, blocks.rewrite, blocks.fill),
        *(blocks.texture_addresses, blocks.neighbours_admitted),
    ]
    assert [len(kernel.signatures) for kernel in kernels] == [1] * len(kernels)  # type: ignore[attr-defined]
