"""From bags to ranked slides with their evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from slidekin_server.ranking.hits import Hits
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
    """Rank the slides in a query's bags.

    Args:
        bags: By query patch, including empty ones.
        labels: Labels and weights of the database's slides.
        k: Most slides to return. >= 1.
        texture_bits: Width of the textures.
        method: How to rank.
        fall_back: Use the label-free ranking if the ranking by uncertainty gives an empty list.
        evidence_limit: Most evidence pairs of a slide. >= 0.

    Raises:
        ValueError: A number is out of range.
    """
    for name, value, least in (("k", k, 1), ("evidence_limit", evidence_limit, 0)):
        if value < least:
            msg = f"{name}: must be at least {least}, not {value}"
            raise ValueError(msg)
    hits = Hits.of(bags)
    ids = labels.ids(hits.slides)
    unlabelled = int(np.count_nonzero(ids < 0))
    if method is RankingMethod.LABEL_FREE:
        by_uncertainty = UncertaintyRanking()
    elif method is RankingMethod.AUTO and unlabelled:
        by_uncertainty = UncertaintyRanking(emptied_by=EmptiedBy.NO_LABELS)
        method = RankingMethod.LABEL_FREE
    else:
        by_uncertainty = rank_by_uncertainty(hits, ids, labels.weights_by_id, limit=k)
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
            for listing in by_uncertainty.listings
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
            for scored in rank_label_free(hits, texture_bits, limit=k)
        ]
    evidence = _evidence(bags, hits, [entry.slide for entry in slides], evidence_limit)
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


def _evidence(
    bags: Sequence[Bag], hits: Hits, slides: Sequence[int], limit: int
) -> list[tuple[EvidencePair, ...]]:
    """Collect each slide's nearest pairs over all bags.

    Args:
        bags: By query patch.
        hits: Of the bags.
        slides: Slide numbers.
        limit: Most pairs of a slide.

    Returns:
        By position in ``slides``: pairs by distance, then query patch, then order in the bag.
    """

    def pairs(slide: int) -> Iterator[EvidencePair]:
        places = np.flatnonzero(hits.slides == slide)
        nearest = places[np.argsort(hits.distances[places], kind="stable")][:limit]
        for place, query in zip(nearest.tolist(), hits.bag_of(nearest).tolist(), strict=True):
            bag, hit = bags[query], place - int(hits.begins[query])
            yield EvidencePair(
                query_patch=query,
                patch=int(bag.patches[hit]),
                key=int(bag.keys[hit]),
                distance_bits=int(bag.distances[hit]),
            )

    return [tuple(pairs(slide)) for slide in slides]
