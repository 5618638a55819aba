"""Ranking by weighted uncertainty (SISH: Chen et al. 2022, doi 10.1038/s41551-022-00929-8).

A bag whose hits agree on a label says more than one whose hits disagree. Results equal those of the
published program to the last bit: floating-point sums are taken in its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from slidekin_server.ranking.labels import SlideLabels
from slidekin_server.ranking.values import EmptiedBy
from slidekin_server.values import Bag

FIRST_HITS: Final = 5
"""Number of a bag's nearest hits whose mean distance tells how good the bag is."""
VOTING_BAGS: Final = 5
"""Number of the most certain bags, which vote on the query's label."""
USUAL_LENGTHS: Final = 3
"""With more distinct bag lengths than this, bags of unusual length are dropped."""
LENGTH_PERCENTILES: Final = (5, 95)
"""Between these percentiles a bag's length is usual."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A slide as listed by the first bag that found it."""

    slide: int
    distance_bits: int
    entropy: float
    query_patch: int


@dataclass(frozen=True, slots=True)
class UncertaintyRanking:
    """The ranking and its intermediate results; see `ranking.values.Ranking`."""

    listings: list[Listing] = field(default_factory=list)
    emptied_by: EmptiedBy = EmptiedBy.NONE
    entropies: dict[int, float] = field(default_factory=dict)
    kept: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    threshold: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Labelled:
    """A bag without its unlabelled hits."""

    distances: NDArray[np.int32]
    slides: NDArray[np.int64]
    probabilities: dict[int, float]
    """By label id, in order of first appearance."""
    entropy: float
    first_hits: float
    """Mean distance of the first hits."""

    def __len__(self) -> int:
        return len(self.distances)


def rank_by_uncertainty(
    bags: Sequence[Bag], labels: SlideLabels, *, limit: int
) -> UncertaintyRanking:
    """Rank slides; hits on slides without a label are left out.

    Args:
        bags: By query patch, including empty ones.
        labels: Labels and weights of the database's slides.
        limit: Most slides to list. >= 1.

    Returns:
        The listed slides, best first, with the intermediate results up to the step that emptied
        the list, if one did.
    """
    labelled = {}
    for number, bag in enumerate(bags):
        ids = labels.ids(bag.slides)
        known = ids >= 0
        if known.any():
            labelled[number] = _label(bag.distances[known], bag.slides[known], ids[known], labels)
    if not labelled:
        any_hit = any(len(bag) for bag in bags)
        return UncertaintyRanking(emptied_by=EmptiedBy.NO_LABELS if any_hit else EmptiedBy.NO_HITS)
    entropies = {number: bag.entropy for number, bag in labelled.items()}

    usual = _of_usual_length(labelled)
    if not usual:
        return UncertaintyRanking(emptied_by=EmptiedBy.CLEANING, entropies=entropies)
    threshold = float(np.mean([labelled[number].first_hits for number in usual]))
    kept = [
        number
        for number in sorted(usual, key=entropies.__getitem__)
        if labelled[number].first_hits <= threshold
    ]
    removed = _contradicting(kept[:VOTING_BAGS], labelled)
    listings, emptied_by = _list(kept, removed, labelled, threshold, limit)
    return UncertaintyRanking(listings, emptied_by, entropies, kept, sorted(removed), threshold)


def _label(
    distances: NDArray[np.int32],
    slides: NDArray[np.int64],
    ids: NDArray[np.int32],
    labels: SlideLabels,
) -> _Labelled:
    # bincount adds in the order of the hits, as a loop would: sums are equal to the last bit.
    shares = labels.weights_of(ids) * (1 / np.arange(1, len(ids) + 1))
    masses = np.bincount(ids, weights=shares)
    first_at = np.empty(len(masses), dtype=np.int64)
    # Written from the last hit to the first, so that the first appearance of each label remains.
    first_at[ids[::-1]] = np.arange(len(ids) - 1, -1, -1)
    present = np.flatnonzero(np.bincount(ids))
    by_appearance = present[np.argsort(first_at[present])].tolist()
    total = 0.0
    for label in by_appearance:
        total += float(masses[label])
    probabilities = {label: float(masses[label]) / total for label in by_appearance}
    entropy = 0.0
    for probability in probabilities.values():
        entropy -= probability * float(np.log2(probability))
    first_hits = float(np.mean(distances[:FIRST_HITS]))
    return _Labelled(distances, slides, probabilities, entropy, first_hits)


def _of_usual_length(bags: dict[int, _Labelled]) -> list[int]:
    lengths = [len(bag) for bag in bags.values()]
    if len(set(lengths)) <= USUAL_LENGTHS:
        return list(bags)
    low, high = np.percentile(lengths, LENGTH_PERCENTILES)
    return [number for number, bag in bags.items() if low < len(bag) < high]


def _contradicting(voters: list[int], bags: dict[int, _Labelled]) -> set[int]:
    """Return the voters whose own most probable label is not the one that all elect together.

    If that would be all of them, the label with the next most votes is used.
    """
    votes: dict[int, float] = {}
    for number in voters:
        for label, probability in bags[number].probabilities.items():
            votes[label] = votes.get(label, 0.0) + probability
    contradicting: set[int] = set()
    for elected in sorted(votes, key=lambda label: -votes[label]):
        contradicting = set()
        for number in voters:
            probabilities = bags[number].probabilities
            if max(probabilities, key=probabilities.__getitem__) != elected:
                contradicting.add(number)
        if len(contradicting) < len(voters):
            break
    return contradicting


def _list(
    kept: list[int], removed: set[int], bags: dict[int, _Labelled], threshold: float, limit: int
) -> tuple[list[Listing], EmptiedBy]:
    """List each slide by the first bag with a near enough hit on it; removed bags are left out."""
    if not kept:
        return [], EmptiedBy.CLEANING
    # Columns of all near enough hits, bag after bag: a query of 60 patches has tens of thousands,
    # and only ``limit`` of them become objects.
    slides = np.concatenate([bags[number].slides for number in kept])
    distances = np.concatenate([bags[number].distances for number in kept])
    lengths = [len(bags[number]) for number in kept]
    numbers = np.repeat(kept, lengths)
    entropies = np.repeat([bags[number].entropy for number in kept], lengths)
    near = (entropies == 0) | (distances <= threshold)
    slides, distances = slides[near], distances[near]
    numbers, entropies = numbers[near], entropies[near]
    first = np.sort(np.unique(slides, return_index=True)[1])
    if not len(first):
        return [], EmptiedBy.DISTANCE_FILTER
    first = first[~np.isin(numbers[first], list(removed))]
    if not len(first):
        return [], EmptiedBy.PREDICTION_FILTER
    order = first[np.lexsort((distances[first], entropies[first]))][:limit]
    listings = [
        Listing(int(slides[hit]), int(distances[hit]), float(entropies[hit]), int(numbers[hit]))
        for hit in order
    ]
    return listings, EmptiedBy.NONE
