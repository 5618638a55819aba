"""From bags to ranked slides with their evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from slidekin_server.ranking.label_free import rank_label_free
from slidekin_server.ranking.labels import SlideLabels
from slidekin_server.ranking.uncertainty import UncertaintyRanking, rank_by_uncertainty
from slidekin_server.ranking.values import (
    EmptiedBy,
    EvidencePair,
    RankedSlide,
    Ranking,
    RankingMethod,
)
from slidekin_server.values import Bag


def rank(
    bags: Sequence[Bag],
    labels: SlideLabels,
    *,
    k: int,
    texture_bits: int,
    method: RankingMethod = RankingMethod.AUTO,
    fall_back: bool = True,
    evidence_limit: int = 5,
) -> Ranking:
    """Rank the slides that a query's bags hold.

    Args:
        bags: By query patch; empty ones stay in place.
        labels: Labels and weights of the database's slides.
        k: Slides to return at most. >= 1.
        texture_bits: Width of the textures.
        method: How to rank.
        fall_back: Answer label-free where the ranking by uncertainty comes to an empty list.
        evidence_limit: Evidence pairs a slide at most. >= 0.

    Raises:
        ValueError: A number is out of range.
    """
    for name, value, least in (("k", k, 1), ("evidence_limit", evidence_limit, 0)):
        if value < least:
            msg = f"{name}: must be at least {least}, not {value}"
            raise ValueError(msg)
    unlabelled = sum(int((labels.ids(bag.slides) < 0).sum()) for bag in bags)
    if method is RankingMethod.LABEL_FREE:
        by_uncertainty = UncertaintyRanking()
    elif method is RankingMethod.AUTO and unlabelled:
        by_uncertainty = UncertaintyRanking(emptied_by=EmptiedBy.NO_LABELS)
        method = RankingMethod.LABEL_FREE
    else:
        by_uncertainty = rank_by_uncertainty(bags, labels)
        method = RankingMethod.UNCERTAINTY
        if fall_back and not by_uncertainty.listings:
            method = RankingMethod.LABEL_FREE

    slides: list[RankedSlide]
    if method is RankingMethod.UNCERTAINTY:
        slides = [
            RankedSlide(
                slide=listing.slide,
                distance_bits=listing.distance_bits,
                label=labels.label(listing.slide),
                entropy=listing.entropy,
                score=None,
                query_patch=listing.query_patch,
                evidence=(),
            )
            for listing in by_uncertainty.listings[:k]
        ]
    else:
        slides = [
            RankedSlide(
                slide=scored.slide,
                distance_bits=scored.distance_bits,
                label=labels.label(scored.slide),
                entropy=None,
                score=scored.score,
                query_patch=scored.query_patch,
                evidence=(),
            )
            for scored in rank_label_free(bags, texture_bits)[:k]
        ]
    evidence = collect_evidence(bags, [entry.slide for entry in slides], evidence_limit)
    return Ranking(
        slides=tuple(
            replace(entry, evidence=pairs) for entry, pairs in zip(slides, evidence, strict=True)
        ),
        method=method,
        emptied_by=by_uncertainty.emptied_by,
        entropies=by_uncertainty.entropies,
        kept=tuple(by_uncertainty.kept),
        removed=tuple(by_uncertainty.removed),
        hamming_threshold_bits=by_uncertainty.threshold,
        unlabelled_hits=unlabelled,
    )


def collect_evidence(
    bags: Sequence[Bag], slides: Sequence[int], limit: int
) -> list[tuple[EvidencePair, ...]]:
    """Collect each slide's nearest pairs over all bags.

    Args:
        bags: By query patch.
        slides: Slide numbers.
        limit: Pairs a slide at most.

    Returns:
        By place in ``slides``: pairs by distance, then query patch, then order in the bag.
    """
    wanted = np.array(sorted(slides), dtype=np.int64)
    pairs: dict[int, list[EvidencePair]] = {slide: [] for slide in slides}
    for number, bag in enumerate(bags):
        for hit in np.flatnonzero(np.isin(bag.slides, wanted)).tolist():
            pair = EvidencePair(
                query_patch=number,
                patch=int(bag.patches[hit]),
                key=int(bag.keys[hit]),
                distance_bits=int(bag.distances[hit]),
            )
            pairs[int(bag.slides[hit])].append(pair)
    return [
        tuple(sorted(pairs[slide], key=lambda pair: pair.distance_bits)[:limit]) for slide in slides
    ]
