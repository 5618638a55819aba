from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest

from slidekin_models.networks.semantic import ORDERS, order_figures, path_order, principal_order


def codebook(codes: int = 24, dim: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(codes, dim))


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_numbers_each_codeword_once_and_always_alike(name: str) -> None:
    words = codebook(64, 16)
    order = ORDERS[name](words)
    assert sorted(order) == list(range(64))
    assert ORDERS[name](words) == order


@pytest.mark.parametrize("name", ORDERS)
def test_codewords_along_a_line_are_numbered_along_it(name: str) -> None:
    places = np.random.default_rng(1).permutation(40)
    words = places[:, None] * np.array([[1.0, 2.0, -0.5]]) + 0.01 * codebook(40, 3)
    order = ORDERS[name](words)
    # The coordinate of largest magnitude is the second, and counts as upwards.
    assert order == [int(place) for place in places]


@pytest.mark.parametrize("seed", range(5))
def test_the_path_is_as_short_as_any_where_all_can_be_tried(seed: int) -> None:
    words = codebook(7, 3, seed)
    distance = np.linalg.norm(words[:, None] - words[None], axis=2)

    def length(path: tuple[int, ...]) -> float:
        return sum(distance[a, b] for a, b in pairwise(path))

    found = length(tuple(np.argsort(path_order(words))))
    assert found == pytest.approx(min(length(path) for path in permutations(range(7))))


def test_the_path_has_nearer_neighbours_than_the_principal_order() -> None:
    words = codebook(64, 16)
    path, principal = (order_figures(words, make(words)) for make in (path_order, principal_order))
    assert path.neighbour_distance < 0.8 * principal.neighbour_distance
    assert principal.rank_correlation > path.rank_correlation


def test_the_figures_of_a_perfect_order_are_known() -> None:
    words = np.arange(10.0)[:, None]
    figures = order_figures(words, list(range(10)))
    assert figures.rank_correlation == pytest.approx(1)
    # Neighbours are 1 apart, all pairs 11/3 on average.
    assert figures.neighbour_distance == pytest.approx(3 / 11)
