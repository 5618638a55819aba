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

from dataclasses import dataclass

import numpy as np

from slidekin_server.ranking.hits import Hits
from slidekin_server.ranking.kernels import score_slides


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


def rank_label_free(hits: Hits, texture_bits: int, *, limit: int) -> list[Scored]:
    """Score all slides that were hit; return the best, best first.

    Equal scores are ordered by distance, then by slide number. O(n + slides log slides).

    Args:
        hits: Of all query patches; empty bags count as patches without a neighbour.
        texture_bits: Width of the textures.
        limit: Most slides to return.
    """
    slides, sums, best = score_slides(
        hits.begins, hits.slides, hits.distances, hits.slide_bound, texture_bits
    )
    scores = sums / max(hits.bag_count, 1)
    distances, bags = hits.distances[best], hits.bag_of(best)
    return [
        Scored(int(slides[row]), float(scores[row]), int(distances[row]), int(bags[row]))
        for row in np.lexsort((slides, distances, -scores))[:limit]
    ]
