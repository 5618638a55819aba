"""Ranking by weighted uncertainty (SISH: Chen et al. 2022, doi 10.1038/s41551-022-00929-8).

A bag whose hits agree on a label says more than one whose hits disagree. Results equal those of the
published program to the last bit: floating-point sums are taken in its order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from slidekin_server.ranking.hits import Hits
from slidekin_server.ranking.kernels import first_near_hits, label_shares, mean_of_first
from slidekin_server.ranking.values import EmptiedBy

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


def rank_by_uncertainty(
    hits: Hits, ids: NDArray[np.int32], weights: NDArray[np.float64], *, limit: int
) -> UncertaintyRanking:
    """Rank slides; hits on slides without a label are left out.

    Args:
        hits: Of all query patches.
        ids: Shape (n,). Label of each hit's slide, -1 for none.
        weights: By label: w(l).
        limit: Most slides to list. >= 1.

    Returns:
        The listed slides, best first, with the intermediate results up to the step that emptied
        the list, if one did.
    """
    if not len(hits):
        return UncertaintyRanking(emptied_by=EmptiedBy.NO_HITS)
    known = ids >= 0
    if not known.any():
        return UncertaintyRanking(emptied_by=EmptiedBy.NO_LABELS)
    if not known.all():
        hits, ids = hits.only(known), ids[known]
    shares = _Shares(*label_shares(hits.begins, ids, weights))
    entropy = shares.entropies(hits.bag_count)
    found = np.flatnonzero(hits.lengths)
    entropies = dict(zip(found.tolist(), entropy[found].tolist(), strict=True))

    usual = found[_is_usual(hits.lengths[found])]
    if not len(usual):
        return UncertaintyRanking(emptied_by=EmptiedBy.CLEANING, entropies=entropies)
    first_hits = mean_of_first(hits.begins, hits.distances, FIRST_HITS)
    threshold = float(np.mean(first_hits[usual]))
    usual = usual[np.argsort(entropy[usual], kind="stable")]
    kept = usual[first_hits[usual] <= threshold]
    removed = _contradicting({bag: shares.of(bag) for bag in kept[:VOTING_BAGS].tolist()})
    listings, emptied_by = _list(hits, kept, removed, entropy, threshold, limit)
    return UncertaintyRanking(
        listings, emptied_by, entropies, kept.tolist(), sorted(removed), threshold
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Shares:
    """How much of each bag is of which label; see ``label_shares``."""

    bags: NDArray[np.int64]
    labels: NDArray[np.int32]
    shares: NDArray[np.float64]

    def entropies(self, bag_count: int) -> NDArray[np.float64]:
        """Return each bag's entropy in bits, shape (bag_count,); 0 for an empty bag."""
        # bincount adds row by row, as a loop would: sums are equal to the last bit.
        terms = self.shares * np.log2(self.shares)
        sums = np.bincount(self.bags, weights=terms, minlength=bag_count).astype(np.float64)
        return 0.0 - sums  # -sums would be -0.0 for a bag of one label

    def of(self, bag: int) -> dict[int, float]:
        """Return one bag's shares by label, in order of first appearance."""
        rows = slice(*np.searchsorted(self.bags, (bag, bag + 1)))
        return dict(zip(self.labels[rows].tolist(), self.shares[rows].tolist(), strict=True))


def _is_usual(lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    if len(np.unique(lengths)) <= USUAL_LENGTHS:
        return np.ones(len(lengths), dtype=np.bool_)
    low, high = np.percentile(lengths, LENGTH_PERCENTILES)
    usual: NDArray[np.bool_] = (low < lengths) & (lengths < high)
    return usual


def _contradicting(voters: Mapping[int, dict[int, float]]) -> list[int]:
    """Return the voters whose own most probable label is not the one that all elect together.

    If that would be all of them, the label with the next most votes is used.

    Args:
        voters: Bags, each with the shares of its labels.
    """
    votes: dict[int, float] = {}
    for shares in voters.values():
        for label, share in shares.items():
            votes[label] = votes.get(label, 0.0) + share
    contradicting: list[int] = []
    for elected in sorted(votes, key=lambda label: -votes[label]):
        contradicting = [
            voter
            for voter, shares in voters.items()
            if max(shares, key=shares.__getitem__) != elected
        ]
        if len(contradicting) < len(voters):
            break
    return contradicting


def _list(  # noqa: PLR0917  intermediate results, one by one
    hits: Hits,
    kept: NDArray[np.int64],
    removed: list[int],
    entropy: NDArray[np.float64],
    threshold: float,
    limit: int,
) -> tuple[list[Listing], EmptiedBy]:
    """List each slide by the first bag with a near enough hit on it; removed bags are left out."""
    if not len(kept):
        return [], EmptiedBy.CLEANING
    # Bags of one label count whatever the distance.
    furthest = np.where(entropy[kept] == 0, np.inf, threshold)
    first = first_near_hits(
        hits.begins, hits.slides, hits.distances, hits.slide_bound, kept, furthest
    )
    if not len(first):
        return [], EmptiedBy.DISTANCE_FILTER
    bags = hits.bag_of(first)
    agreeing = ~np.isin(bags, removed)
    first, bags = first[agreeing], bags[agreeing]
    if not len(first):
        return [], EmptiedBy.PREDICTION_FILTER
    order = np.lexsort((hits.distances[first], entropy[bags]))[:limit]
    listings = [
        Listing(int(hits.slides[hit]), int(hits.distances[hit]), float(entropy[bag]), int(bag))
        for hit, bag in zip(first[order], bags[order], strict=True)
    ]
    return listings, EmptiedBy.NONE
