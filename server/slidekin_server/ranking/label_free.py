"""Ranking without labels: our own, for databases without labels and where the labels do not help.

In each query patch's bag, only a slide's nearest patch contributes to its score, so that a slide
gains nothing by having many patches:

    similarity / (1 + number of slides that are nearer),   similarity = max(0, 1 - 2 d / bits)

The reciprocal of the rank makes patches comparable: some tissues have near neighbours everywhere,
others nowhere, and a distance that is good for one is poor for the other. (The published ranking
weighs a bag's hits in the same way.) The similarity is 1 for equal textures and 0 if no more bits
agree than by chance, so that a patch without a real neighbour, whose nearest slide is an accident,
hardly counts. A slide's score is the sum over the query's patches divided by their number: 0..1,
comparable between queries, and high only if much of the query is found again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slidekin_server.values import Bag


@dataclass(frozen=True, slots=True)
class Scored:
    """A slide and its score."""

    slide: int
    score: float
    """0..1."""
    distance_bits: int
    """Distance of the hit that contributed the most."""
    query_patch: int
    """The query patch of that hit."""


def rank_label_free(bags: Sequence[Bag], texture_bits: int) -> list[Scored]:
    """Score all slides in the bags, best first.

    Equal scores are ordered by distance, then by slide number. O(hits log hits).

    Args:
        bags: By query patch; empty ones count as patches without a neighbour.
        texture_bits: Width of the textures.
    """
    scores: dict[int, float] = {}
    best: dict[int, tuple[float, int, int]] = {}
    for number, bag in enumerate(bags):
        _, first_at = np.unique(bag.slides, return_index=True)
        first_at.sort()
        distances = bag.distances[first_at]
        nearer = np.searchsorted(distances, distances, side="left")
        shares = np.maximum(0.0, 1 - 2 * distances / texture_bits) / (1 + nearer)
        for slide, share, distance in zip(
            bag.slides[first_at].tolist(), shares.tolist(), distances.tolist(), strict=True
        ):
            scores[slide] = scores.get(slide, 0.0) + share
            if slide not in best or (-share, distance) < best[slide][:2]:
                best[slide] = (-share, distance, number)
    scored = [
        Scored(slide, score / len(bags), best[slide][1], best[slide][2])
        for slide, score in scores.items()
    ]
    return sorted(scored, key=lambda entry: (-entry.score, entry.distance_bits, entry.slide))
