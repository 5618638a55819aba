"""Compiled work on the hits of a query, one pass each. A query of 60 patches has tens of thousands.

Floating-point sums are taken hit by hit, in the order of the bags: the published program does so,
and its results are to be equal to the last bit.
"""

# Compiled functions take columns one by one.
# ruff: noqa: PLR0917

from __future__ import annotations

import numpy as np

from slidekin_server.compiled import Floats, Int32s, Int64s, kernel


@kernel
def label_shares(begins: Int64s, ids: Int32s, weights: Floats) -> tuple[Int64s, Int32s, Floats]:
    """Tell for each bag how much of it is of which label.

    A hit counts for its label's weight divided by its place in the bag, from 1. O(n).

    Args:
        begins: See ``Hits``.
        ids: Label of each hit.
        weights: By label.

    Returns:
        Columns with a row for each bag and label of its hits: bag, label and share, 0 to 1. Bag
        after bag, labels in order of first appearance.
    """
    bags = np.empty(len(ids), dtype=np.int64)
    labels = np.empty(len(ids), dtype=np.int32)
    shares = np.empty(len(ids), dtype=np.float64)
    row_of = np.full(len(weights), -1, dtype=np.int64)
    rows = 0
    for bag in range(len(begins) - 1):
        first = rows
        for hit in range(begins[bag], begins[bag + 1]):
            label = ids[hit]
            if row_of[label] < first:  # what earlier bags wrote
                row_of[label] = rows
                bags[rows], labels[rows], shares[rows] = bag, label, 0.0
                rows += 1
            shares[row_of[label]] += weights[label] * (1 / (hit - begins[bag] + 1))
        total = 0.0
        for row in range(first, rows):
            total += shares[row]
        for row in range(first, rows):
            shares[row] /= total
    return bags[:rows], labels[:rows], shares[:rows]


@kernel
def mean_of_first(begins: Int64s, distances: Int32s, count: int) -> Floats:
    """Return the mean distance of each bag's first ``count`` hits; 0 for an empty bag. O(bags)."""
    means = np.zeros(len(begins) - 1)
    for bag in range(len(means)):
        end = min(begins[bag] + count, begins[bag + 1])
        total = 0.0
        for hit in range(begins[bag], end):
            total += distances[hit]
        if end > begins[bag]:
            means[bag] = total / (end - begins[bag])
    return means


@kernel
def first_near_hits(
    begins: Int64s,
    slides: Int64s,
    distances: Int32s,
    slide_bound: int,
    bags: Int64s,
    furthest: Floats,
) -> Int64s:
    """Return each slide's first hit that is near enough, bag after bag. O(n).

    Args:
        begins: See ``Hits``.
        slides: See ``Hits``.
        distances: See ``Hits``.
        slide_bound: See ``Hits``.
        bags: The bags to look at, in this order.
        furthest: By row of ``bags``: how far away a hit may be.
    """
    seen = np.zeros(slide_bound, dtype=np.bool_)
    found = np.empty(len(slides), dtype=np.int64)
    size = 0
    for row in range(len(bags)):
        for hit in range(begins[bags[row]], begins[bags[row] + 1]):
            if distances[hit] <= furthest[row] and not seen[slides[hit]]:
                seen[slides[hit]] = True
                found[size] = hit
                size += 1
    return found[:size]


@kernel
def score_slides(
    begins: Int64s, slides: Int64s, distances: Int32s, slide_bound: int, texture_bits: int
) -> tuple[Int64s, Floats, Int64s]:
    """Sum up what each slide's nearest hit in each bag contributes; see ``label_free``. O(n).

    Returns:
        Columns with a row for each slide, in order of appearance: its number, the sum, and the
        place of the hit that contributed the most.
    """
    row_of = np.zeros(slide_bound, dtype=np.int32)  # and one more, so that 0 stands for none
    numbers = np.empty(len(slides), dtype=np.int64)
    sums = np.empty(len(slides), dtype=np.float64)
    best = np.empty(len(slides), dtype=np.int64)
    best_share = np.empty(len(slides), dtype=np.float64)
    last_bag = np.empty(len(slides), dtype=np.int64)
    rows = 0
    for bag in range(len(begins) - 1):
        in_bag = nearer = 0
        distance = -1
        for hit in range(begins[bag], begins[bag + 1]):
            row = row_of[slides[hit]] - 1
            if row >= 0 and last_bag[row] == bag:
                continue
            if distances[hit] > distance:
                distance, nearer = distances[hit], in_bag
            in_bag += 1
            share = max(0.0, 1 - 2 * distance / texture_bits) / (1 + nearer)
            if row < 0:
                row, rows = rows, rows + 1
                row_of[slides[hit]] = rows
                numbers[row], sums[row], best_share[row] = slides[hit], 0.0, -1.0
            last_bag[row] = bag
            sums[row] += share
            if share > best_share[row] or (
                share == best_share[row] and distance < distances[best[row]]
            ):
                best[row], best_share[row] = hit, share
    return numbers[:rows], sums[:rows], best[:rows]
