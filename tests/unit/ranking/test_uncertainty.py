"""The ranking by uncertainty: equal to the oracle, and a reason wherever it has no answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import oracle

from slidekin_server.ranking import EmptiedBy, Ranking, RankingMethod, SlideLabels, rank
from slidekin_server.values import Bag, SearchMode


def make_bag(hits: list[tuple[int, int]]) -> Bag:
    """Make a bag of (slide, distance) pairs, sorted stably by distance."""
    hits = sorted(hits, key=lambda hit: hit[1])
    return Bag(
        keys=np.arange(len(hits), dtype=np.int64),
        distances=np.array([distance for _, distance in hits], dtype=np.int32),
        slides=np.array([slide for slide, _ in hits], dtype=np.int64),
        patches=np.zeros(len(hits), dtype=np.int32),
        mode=SearchMode.GUIDED,
    )


def by_uncertainty(bags: list[Bag], labels: SlideLabels, **options: object) -> Ranking:
    """Rank by uncertainty alone."""
    given = {"k": 5, "texture_bits": 128, "fall_back": False} | options
    return rank(bags, labels, method=RankingMethod.UNCERTAINTY, **given)  # type: ignore[arg-type]


HITS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=25)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(HITS, max_size=12),
    st.lists(st.sampled_from(["LUAD", "LUSC", "KIRC", "KICH"]), min_size=10, max_size=10),
    st.sampled_from([10.0, 30.0]),
    st.integers(1, 12),
)
def test_it_equals_the_oracle(
    hits: list[list[tuple[int, int]]], names: list[str], scale: float, k: int
) -> None:
    bags = [make_bag(own) for own in hits]
    labels = SlideLabels.of(dict(enumerate(names)), weight_scale=scale)
    weights = oracle.label_weights(names, scale)
    assert dict(labels.weights) == weights
    ranking = by_uncertainty(bags, labels, k=k)
    expected = oracle.rank(
        [
            [
                oracle.OracleHit(key, distance, slide, 0)
                for key, distance, slide in zip(
                    bag.keys.tolist(), bag.distances.tolist(), bag.slides.tolist(), strict=True
                )
            ]
            for bag in bags
        ],
        names.__getitem__,
        weights,
        k,
    )
    assert [
        (entry.slide, entry.distance_bits, entry.label, entry.entropy, entry.query_patch)
        for entry in ranking.slides
    ] == expected.ranked
    assert ranking.entropies == expected.entropy
    assert list(ranking.kept) == expected.kept
    assert list(ranking.removed) == sorted(expected.removed)
    assert ranking.hamming_threshold_bits == expected.threshold
    assert (ranking.emptied_by is EmptiedBy.NONE) == bool(ranking.slides)


@settings(deadline=None)
@given(
    st.lists(HITS, max_size=12),
    st.lists(st.sampled_from(["LUAD", "LUSC", None]), min_size=10, max_size=10),
)
def test_unlabelled_hits_count_as_if_they_were_not_there(
    hits: list[list[tuple[int, int]]], names: list[str | None]
) -> None:
    labels = SlideLabels.of(dict(enumerate(names)))
    ranking = by_uncertainty([make_bag(own) for own in hits], labels)
    labelled = [[hit for hit in own if names[hit[0]]] for own in hits]
    expected = by_uncertainty([make_bag(own) for own in labelled], labels)
    for name in ("entropies", "kept", "removed", "hamming_threshold_bits"):
        assert getattr(ranking, name) == getattr(expected, name)
    found, wanted = (
        [(entry.slide, entry.distance_bits, entry.query_patch) for entry in one.slides]
        for one in (ranking, expected)
    )
    assert found == wanted


LABELS = SlideLabels.of({0: "A", 1: "B", 2: "A", 3: None, 4: ""})


def test_no_hits_are_the_reason_when_no_bag_has_any() -> None:
    for bags in ([], [make_bag([]), make_bag([])]):
        assert by_uncertainty(bags, LABELS).emptied_by is EmptiedBy.NO_HITS


def test_missing_labels_are_the_reason_when_no_hit_has_one() -> None:
    ranking = by_uncertainty([make_bag([(3, 1), (4, 2), (77, 3)])], LABELS)
    assert ranking.emptied_by is EmptiedBy.NO_LABELS
    assert ranking.unlabelled_hits == 3


def test_cleaning_is_the_reason_when_every_bag_has_an_unusual_length() -> None:
    # Every length lies at the 5th or the 95th percentile or beyond: 2 and 4.
    bags = [make_bag([(0, 5)] * length) for length in (1, *[2] * 40, *[4] * 40, 5)]
    ranking = by_uncertainty(bags, LABELS)
    assert ranking.emptied_by is EmptiedBy.CLEANING
    assert ranking.slides == ()
    assert ranking.entropies
    assert ranking.hamming_threshold_bits is None


def test_unlabelled_hits_are_left_out_and_counted() -> None:
    with_them = by_uncertainty([make_bag([(3, 0), (0, 1), (1, 2), (4, 3)])], LABELS)
    without = by_uncertainty([make_bag([(0, 1), (1, 2)])], LABELS)
    assert with_them.unlabelled_hits == 2
    assert with_them.entropies == without.entropies
    assert [entry.slide for entry in with_them.slides] == [entry.slide for entry in without.slides]


def test_a_bag_of_one_label_has_no_entropy() -> None:
    ranking = by_uncertainty([make_bag([(0, 3), (2, 50)])], LABELS)
    assert ranking.entropies == {0: 0.0}
    assert [entry.slide for entry in ranking.slides] == [0, 2]


@pytest.mark.parametrize(("name", "options"), [("k", {"k": 0}), ("k", {"k": -3})])
def test_numbers_out_of_range_are_refused_by_name(name: str, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: must be at least"):
        by_uncertainty([], LABELS, **options)
    with pytest.raises(ValueError, match=r"^evidence_limit: must be at least 0"):
        by_uncertainty([], LABELS, evidence_limit=-1)
