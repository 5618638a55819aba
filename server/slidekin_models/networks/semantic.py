"""The semantic order: a numbering of the codewords in which similar ones have close numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

_LEAST_GAIN = 1e-9


def principal_order(codebook: NDArray[np.float64]) -> list[int]:
    """Rank of each codeword on the codebook's first principal component.

    How the published order was made is not known; this one needs only the codebook. The sign of a
    principal component is arbitrary: here the coordinate of largest magnitude is made positive (on
    ties, the first). Codewords with equal positions keep the order of their indices.

    Args:
        codebook: Shape (codes, dim).

    Returns:
        ``order[old] = new``.
    """
    centred = codebook.astype(np.float64) - codebook.astype(np.float64).mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axis = axes[0]
    if axis[np.argmax(np.abs(axis))] < 0:
        axis = -axis
    return _ranks(np.argsort(centred @ axis, kind="stable"))


def path_order(codebook: NDArray[np.float64]) -> list[int]:
    """Rank of each codeword on a short path through all of them.

    It starts from the principal order and from nearest neighbours, and improves the path by
    reversing parts (2-opt) and moving short ones (Or-opt) until neither helps. The result is near
    the shortest path, which cannot be computed in reasonable time. It begins at the end at which
    the principal order begins.

    Args:
        codebook: Shape (codes, dim).

    Returns:
        ``order[old] = new``.
    """
    distance = _distances(codebook)
    principal = np.argsort(principal_order(codebook))
    starts = [principal, _nearest_first(distance, principal[0])]
    paths = [_improved(start, distance) for start in starts]
    best = min(paths, key=lambda path: _length(path, distance))
    rank = np.argsort(principal)
    half = len(best) // 2
    if rank[best[:half]].mean() > rank[best[-half:]].mean():
        best = best[::-1]
    return _ranks(best)


ORDERS: Mapping[str, Callable[[NDArray[np.float64]], list[int]]] = MappingProxyType(
    {"principal": principal_order, "path": path_order}
)


@dataclass(frozen=True, slots=True)
class OrderFigures:
    """How good an order is."""

    neighbour_distance: float
    """Mean distance between codewords with consecutive numbers, in units of the mean distance of
    all pairs: less is better."""
    rank_correlation: float
    """Spearman's, between difference in number and distance, over all pairs: more is better, since
    a key is a sum of numbers."""


def order_figures(codebook: NDArray[np.float64], order: list[int]) -> OrderFigures:
    """Return both figures of ``order[old] = new`` for a codebook (codes, dim)."""
    distance = _distances(codebook)
    pairs = np.triu_indices(len(codebook), 1)
    mean = distance[pairs].mean()
    path = np.argsort(order)
    number = np.abs(np.subtract.outer(order, order))
    ranks = np.stack([_mean_ranks(values[pairs]) for values in (number, distance)])
    return OrderFigures(
        neighbour_distance=float(_length(path, distance) / (len(path) - 1) / mean),
        rank_correlation=float(np.asarray(np.corrcoef(ranks))[0, 1]),
    )


def _distances(codebook: NDArray[np.float64]) -> NDArray[np.float64]:
    words = codebook.astype(np.float64)
    return np.asarray(np.linalg.norm(words[:, None] - words[None], axis=2))


def _length(path: NDArray[np.int64], distance: NDArray[np.float64]) -> float:
    return float(distance[path[:-1], path[1:]].sum())


def _nearest_first(distance: NDArray[np.float64], start: int) -> NDArray[np.int64]:
    path, left = [int(start)], set(range(len(distance))) - {int(start)}
    while left:
        here = distance[path[-1]]
        path.append(min(left, key=lambda i: (here[i], i)))
        left.remove(path[-1])
    return np.array(path)


def _improved(path: NDArray[np.int64], distance: NDArray[np.float64]) -> NDArray[np.int64]:
    best, length = path, _length(path, distance)
    while True:
        for candidate in (_turned(best, distance), _moved(best, distance)):
            if _length(candidate, distance) < length - _LEAST_GAIN:
                best, length = candidate, _length(candidate, distance)
                break
        else:
            return best


def _turned(path: NDArray[np.int64], distance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the best of all paths with one part reversed."""
    # Edges before the first and after the last codeword cost nothing: the path is open.
    edge = np.zeros((len(path) + 2, len(path) + 2))
    edge[1:-1, 1:-1] = distance[np.ix_(path, path)]
    first = np.arange(1, len(path) + 1)
    before, here = edge[first - 1][:, first], edge[first - 1, first][:, None]
    after, there = edge[first][:, first + 1], edge[first, first + 1][None]
    gain = np.triu(here + there - before - after, 1)
    i, j = np.unravel_index(int(gain.argmax()), gain.shape)
    turned = path.copy()
    turned[i : j + 1] = path[i : j + 1][::-1]
    return turned


def _moved(path: NDArray[np.int64], distance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Move one, two or three neighbours together elsewhere in the path, wherever that helps."""
    length = _length(path, distance)
    for size in (1, 2, 3):
        for start in range(len(path) - size + 1):
            part = path[start : start + size]
            rest = np.delete(path, np.s_[start : start + size])
            stay = _length(rest, distance) + _length(part, distance)
            link = np.zeros(len(rest) + 1)
            link[1:-1] = distance[rest[:-1], rest[1:]]
            for piece in (part, part[::-1]):
                to_left = np.append(0.0, distance[rest, piece[0]])
                to_right = np.append(distance[rest, piece[-1]], 0.0)
                total = stay - link + to_left + to_right
                place = int(total.argmin())
                if total[place] < length - _LEAST_GAIN:
                    length, path = float(total[place]), np.insert(rest, place, piece)
                    break
    return path


def _ranks(path: NDArray[np.int64]) -> list[int]:
    order = np.empty(len(path), dtype=np.int64)
    order[path] = np.arange(len(path))
    return [int(new) for new in order]


def _mean_ranks(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return ranks; equal values get the mean of their ranks."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[group])
