from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidekin.evaluation import average_precision, majority_label

LABELS = st.lists(st.sampled_from("abc"), max_size=8)


@pytest.mark.parametrize(
    ("labels", "k", "vote"),
    [
        ("aab", 3, "a"),
        ("baa", 3, "a"),
        ("baa", 1, "b"),  # only the first k vote
        ("abba", 4, "a"),  # of equally common ones, the first
        ("babab", 5, "b"),
        ("abc", 3, "a"),
        ("", 3, None),
        ("a", 3, None),  # 1 of at least 2
        ("a", 2, "a"),  # 1 of at least 1
        ("aab", 5, None),  # 2 of at least 3
        ("aaab", 5, "a"),  # 3 of at least 3
        ("ab", 4, None),
    ],
)
def test_majority_vote(labels: str, k: int, vote: str | None):
    assert majority_label(list(labels), k) == vote


@pytest.mark.parametrize(
    ("labels", "k", "precision"),
    [
        ("aaaaa", 5, 1.0),
        ("bbbbb", 5, 0.0),
        ("abbbb", 5, 1 / 5),
        ("bbbba", 5, (1 / 5) / 5),
        ("abab", 5, (1 + 2 / 3) / 5),  # what is missing counts as wrong
        ("ba", 1, 0.0),
        ("ab", 1, 1.0),
        ("", 3, 0.0),
        ("aba", 3, (1 + 2 / 3) / 3),
    ],
)
def test_average_precision(labels: str, k: int, precision: float):
    assert average_precision(list(labels), "a", k) == pytest.approx(precision, abs=1e-15)


@given(LABELS, st.integers(1, 8))
def test_a_vote_is_among_the_most_common_of_the_first_k(labels: list[str], k: int):
    vote, first = majority_label(labels, k), labels[:k]
    most = max((first.count(label) for label in first), default=0)
    if len(first) >= k or 2 * most >= k:
        assert (vote is None) == (not first)
    else:
        assert vote is None
    if vote is not None:
        assert first.count(vote) == most
        tied = [label for label in first if first.count(label) == most]
        assert tied[0] == vote


@given(LABELS, st.integers(1, 8))
def test_average_precision_equals_the_mean_of_precisions_at_right_ranks(labels: list[str], k: int):
    padded = (labels + [""] * k)[:k]
    expected = sum(
        padded[: rank + 1].count("a") / (rank + 1) for rank in range(k) if padded[rank] == "a"
    )
    assert average_precision(labels, "a", k) == pytest.approx(expected / k)
