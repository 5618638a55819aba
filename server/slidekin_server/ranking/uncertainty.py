"""Ranking by weighted uncertainty (SISH: Chen et al. 2022, doi 10.1038/s41551-022-00929-8).

A bag whose hits agree on a label says more than one whose hits do not. Results equal those of the
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
"""A bag's nearest hits, whose mean distance says how good the bag is."""
VOTING_BAGS: Final = 5
"""The most certain bags, which vote on the query's label."""
USUAL_LENGTHS: Final = 3
"""With more distinct bag lengths than this, bags of unusual length are dropped."""
LENGTH_PERCENTILES: Final = (5, 95)
"""Between these a bag's length is usual."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A slide as the bag lists it that found it first."""

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


def rank_by_uncertainty(bags: Sequence[Bag], labels: SlideLabels) -> UncertaintyRanking:
    """Rank slides; hits on slides without a label are left out.

    Args:
        bags: By query patch; empty ones stay in place.
        labels: Labels and weights of the database's slides.

    Returns:
        All slides that are listed, best first, with the intermediate results up to the step that
        emptied the list, if one did.
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
    listings = _list(kept, labelled, threshold)
    remaining = [listing for listing in listings if listing.query_patch not in removed]
    emptied_by = EmptiedBy.NONE
    if not kept:
        emptied_by = EmptiedBy.CLEANING
    elif not listings:
        emptied_by = EmptiedBy.DISTANCE_FILTER
    elif not remaining:
        emptied_by = EmptiedBy.PREDICTION_FILTER
    return UncertaintyRanking(remaining, emptied_by, entropies, kept, sorted(removed), threshold)


def _label(
    distances: NDArray[np.int32],
    slides: NDArray[np.int64],
    ids: NDArray[np.int32],
    labels: SlideLabels,
) -> _Labelled:
    # bincount adds in order of the hits, as a loop would: sums are equal to the last bit.
    shares = labels.weights_of(ids) * (1 / np.arange(1, len(ids) + 1))
    masses = np.bincount(ids, weights=shares)
    distinct, first_at = np.unique(ids, return_index=True)
    by_appearance = distinct[np.argsort(first_at)].tolist()
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
    """Return the voters whose own most probable label is not the one they elect together.

    Where that would be all of them, the label with the next most votes is taken.
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


def _list(kept: list[int], bags: dict[int, _Labelled], threshold: float) -> list[Listing]:
    """List each slide by the first bag that holds it near enough, sorted."""
    listed: dict[int, Listing] = {}
    for number in kept:
        bag = bags[number]
        near = slice(None) if bag.entropy == 0 else bag.distances <= threshold
        slides, distances = bag.slides[near], bag.distances[near]
        _, first_at = np.unique(slides, return_index=True)
        for hit in np.sort(first_at).tolist():
            slide = int(slides[hit])
            if slide not in listed:
                listed[slide] = Listing(slide, int(distances[hit]), bag.entropy, number)
    return sorted(listed.values(), key=lambda listing: (listing.entropy, listing.distance_bits))
