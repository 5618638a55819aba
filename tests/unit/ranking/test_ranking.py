"""Which method answers, what a label-free score means, and the evidence for each slide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidekin_server.ranking import (
    EmptiedBy,
    EvidencePair,
    RankingMethod,
    SlideLabels,
    kernels,
    rank,
    warm_up,
)
from slidekin_server.values import Bag, SearchMode

BITS = 128
LABELS = SlideLabels.of({0: "A", 1: "B", 2: "A", 3: None})


def make_bag(hits: list[tuple[int, int]]) -> Bag:
    """Make a bag of (slide, distance) pairs in ascending order; patches count from 0."""
    return Bag(
        keys=np.arange(len(hits), dtype=np.int64) * 100,
        distances=np.array([distance for _, distance in hits], dtype=np.int32),
        slides=np.array([slide for slide, _ in hits], dtype=np.int64),
        patches=np.arange(len(hits), dtype=np.int32),
        mode=SearchMode.GUIDED,
    )


def test_auto_goes_by_uncertainty_where_every_hit_is_labelled() -> None:
    ranking = rank([make_bag([(0, 1), (2, 2)])], LABELS, k=5, texture_bits=BITS)
    assert ranking.method is RankingMethod.UNCERTAINTY
    assert ranking.emptied_by is EmptiedBy.NONE
    assert all(entry.score is None and entry.entropy == 0 for entry in ranking.slides)


def test_auto_needs_no_labels_where_some_are_missing() -> None:
    ranking = rank([make_bag([(0, 1), (3, 2)])], LABELS, k=5, texture_bits=BITS)
    assert ranking.method is RankingMethod.LABEL_FREE
    assert ranking.emptied_by is EmptiedBy.NO_LABELS
    assert [(entry.slide, entry.label) for entry in ranking.slides] == [(0, "A"), (3, None)]
    assert all(entry.entropy is None for entry in ranking.slides)


def test_an_emptied_list_is_answered_without_labels_unless_that_is_refused() -> None:
    bags = [make_bag([(0, 5)] * length) for length in (1, *[2] * 40, *[4] * 40, 5)]
    for fall_back, method, slides in (
        (True, RankingMethod.LABEL_FREE, [0]),
        (False, RankingMethod.UNCERTAINTY, []),
    ):
        ranking = rank(bags, LABELS, k=5, texture_bits=BITS, fall_back=fall_back)
        assert ranking.emptied_by is EmptiedBy.CLEANING
        assert ranking.method is method
        assert [entry.slide for entry in ranking.slides] == slides


def test_without_hits_there_is_no_answer_and_a_reason() -> None:
    ranking = rank([make_bag([])], LABELS, k=5, texture_bits=BITS)
    assert ranking.slides == ()
    assert ranking.emptied_by is EmptiedBy.NO_HITS


def _label_free(bags: list[Bag], k: int = 5) -> dict[int, float]:
    ranking = rank(bags, LABELS, k=k, texture_bits=BITS, method=RankingMethod.LABEL_FREE)
    assert ranking.emptied_by is EmptiedBy.NONE
    return {entry.slide: entry.score or 0.0 for entry in ranking.slides}


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 90)), max_size=25)))
def test_the_scores_are_the_sums_of_what_each_slides_nearest_patches_say(
    hits: list[list[tuple[int, int]]],
) -> None:
    ordered = [sorted(own, key=lambda hit: hit[1]) for own in hits]
    sums: dict[int, float] = {}
    nearest: dict[int, tuple[float, int, int]] = {}
    for query, own in enumerate(ordered):
        distances = dict(reversed(own))
        for slide, _ in own:
            if slide not in distances:
                continue
            distance = distances.pop(slide)
            ahead = {other for other, nearer in own if nearer < distance}
            share = max(0.0, 1 - 2 * distance / BITS) / (1 + len(ahead))
            sums[slide] = sums.get(slide, 0.0) + share
            nearest[slide] = min(nearest.get(slide, (1.0, 0, 0)), (-share, distance, query))
    expected = [(slide, total / len(hits), *nearest[slide][1:]) for slide, total in sums.items()]
    expected.sort(key=lambda row: (-row[1], row[2], row[0]))
    bags = [make_bag(own) for own in ordered]
    ranking = rank(bags, LABELS, k=10, texture_bits=BITS, method=RankingMethod.LABEL_FREE)
    assert [
        (entry.slide, entry.score, entry.distance_bits, entry.query_patch)
        for entry in ranking.slides
    ] == expected


def test_a_slide_found_again_in_every_patch_scores_one() -> None:
    assert _label_free([make_bag([(7, 0)])] * 4) == {7: 1.0}


def test_a_slide_gains_nothing_by_having_many_patches() -> None:
    once = _label_free([make_bag([(1, 10), (2, 12)])])
    often = _label_free([make_bag([(1, 10), (1, 10), (1, 11), (2, 12)])])
    assert once == often


def test_slides_equally_near_share_a_rank() -> None:
    scores = _label_free([make_bag([(5, 10), (4, 10), (3, 20)])])
    assert scores[5] == scores[4] == 1 - 20 / BITS
    assert scores[3] == pytest.approx((1 - 40 / BITS) / 3)
    assert list(scores) == [4, 5, 3]  # equal slides in order of their numbers


def test_textures_that_agree_by_chance_count_for_nothing_and_are_still_listed() -> None:
    assert _label_free([make_bag([(5, 64), (6, 100)])]) == {5: 0.0, 6: 0.0}


def test_a_patch_without_hits_lowers_the_score_of_all() -> None:
    assert _label_free([make_bag([(7, 0)]), make_bag([])]) == {7: 0.5}


def test_no_more_than_k_slides_come_back() -> None:
    bags = [make_bag([(slide, slide) for slide in range(30)])]
    assert list(_label_free(bags, k=3)) == [0, 1, 2]


def test_the_evidence_is_the_nearest_pairs_of_each_slide() -> None:
    bags = [make_bag([(1, 3), (2, 4), (1, 9)]), make_bag([]), make_bag([(2, 1), (1, 3)])]
    ranking = rank(bags, LABELS, k=2, texture_bits=BITS, evidence_limit=2)
    evidence = {entry.slide: entry.evidence for entry in ranking.slides}
    assert evidence == {
        1: (EvidencePair(0, 0, 0, 3), EvidencePair(2, 1, 100, 3)),
        2: (EvidencePair(2, 0, 0, 1), EvidencePair(0, 1, 100, 4)),
    }


def test_evidence_may_be_left_out() -> None:
    ranking = rank([make_bag([(1, 3)])], LABELS, k=1, texture_bits=BITS, evidence_limit=0)
    assert [entry.evidence for entry in ranking.slides] == [()]


def test_after_the_warm_up_nothing_is_left_to_compile() -> None:
    warm_up()
    for method in RankingMethod:
        rank(
            [make_bag([(0, 1), (3, 2)]), make_bag([])],
            LABELS,
            k=5,
            texture_bits=BITS,
            method=method,
        )
    compiled = [
        kernels.label_shares,
        kernels.mean_of_first,
        kernels.first_near_hits,
        kernels.score_slides,
    ]
    assert [len(kernel.signatures) for kernel in compiled] == [1] * len(compiled)  # type: ignore[attr-defined]


def test_labels_weigh_by_how_rare_they_are() -> None:
    labels = SlideLabels.of({0: "A", 1: "A", 2: "A", 5: "B", 6: None}, weight_scale=30.0)
    assert dict(labels.weights) == {"A": 7.5, "B": 22.5}
    assert [labels.label(number) for number in (0, 5, 6, 3, 99, -1)] == ["A", "B", *[None] * 4]


def test_a_database_without_labels_has_no_weights() -> None:
    assert dict(SlideLabels.of({}).weights) == {}
    assert dict(SlideLabels.of({3: None}).weights) == {}


def test_a_scale_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^weight_scale: must be positive"):
        SlideLabels.of({0: "A"}, weight_scale=0.0)
