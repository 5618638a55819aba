"""Why a search returned fewer slides than requested."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from slidekin_server.ranking import EmptiedBy, Ranking, RankingMethod
from slidekin_server.values import Bag


class ShortReason(enum.Enum):
    """The step that left fewer slides than requested."""

    EMPTY_COLLECTION = "empty_collection"
    SMALL_COLLECTION = "small_collection"
    FILTER = "filter"
    NO_HITS = "no_hits"
    BAGS_CLEANED = "bags_cleaned"
    PREDICTION_FILTER = "prediction_filter"
    DISTANT_HITS = "distant_hits"
    NO_LABELS = "no_labels"


@dataclass(frozen=True, slots=True)
class Shortfall:
    """One step that left too few, in one sentence for people."""

    reason: ShortReason
    message: str


def held_shortfall(*, held: int, admitted: int, k: int) -> Shortfall | None:
    """Return why a search cannot return ``k`` slides at all; None if it can.

    Args:
        held: Number of slides in the collection.
        admitted: Number of them that the filter admits.
        k: Number of slides requested.
    """
    if admitted >= k:
        return None
    if held == 0:
        return Shortfall(ShortReason.EMPTY_COLLECTION, "The collection holds no slides.")
    if admitted == held:
        return Shortfall(
            ShortReason.SMALL_COLLECTION,
            f"The collection holds {_slides(held)}, {k} were asked for.",
        )
    return Shortfall(
        ShortReason.FILTER,
        f"The filter admits {admitted} of {_slides(held)}, {k} were asked for.",
    )


def ranking_shortfalls(
    bags: Sequence[Bag], ranking: Ranking, *, target: int, threshold_bits: int
) -> list[Shortfall]:
    """Follow the slides through the ranking's steps and name each that left too few.

    Args:
        bags: Hits of every query patch.
        ranking: The ranking of these hits.
        target: Most slides that could be returned: k, or the number admitted if that is smaller.
        threshold_bits: Largest distance of a hit.
    """
    if len(ranking.slides) >= target:
        return []
    shortfalls = []
    hit = _distinct(bags, range(len(bags)))
    if hit < target:
        shortfalls.append(
            Shortfall(
                ShortReason.NO_HITS,
                f"Hits within {threshold_bits} bits lie on {_slides(hit)} of the {target} wanted.",
            )
        )
        target = hit
    if ranking.method is not RankingMethod.UNCERTAINTY or len(ranking.slides) >= target:
        return shortfalls
    if ranking.emptied_by is EmptiedBy.NO_LABELS:
        shortfalls.append(
            Shortfall(
                ShortReason.NO_LABELS,
                "No slide that was hit has a label, and the ranking by uncertainty needs them.",
            )
        )
        return shortfalls
    kept = _distinct(bags, ranking.kept)
    if kept < target:
        shortfalls.append(
            Shortfall(
                ShortReason.BAGS_CLEANED,
                "Patches with unusually many, unusually few or distant hits were dropped; the "
                f"{len(ranking.kept)} that were kept lie on {_slides(kept)}.",
            )
        )
        target = kept
    near = _distinct_near(bags, ranking)
    if near < target:
        shortfalls.append(
            Shortfall(
                ShortReason.DISTANT_HITS,
                "Hits farther than the mean of the kept patches were dropped; "
                f"{_slides(near)} remained.",
            )
        )
        target = near
    if len(ranking.slides) < target:
        shortfalls.append(
            Shortfall(
                ShortReason.PREDICTION_FILTER,
                f"{len(ranking.removed)} patches whose own label contradicts the vote were "
                f"dropped; {_slides(len(ranking.slides))} remained.",
            )
        )
    return shortfalls


def _distinct(bags: Sequence[Bag], which: Iterable[int]) -> int:
    slides = [bags[index].slides for index in which]
    return len(np.unique(np.concatenate(slides))) if slides else 0


def _distinct_near(bags: Sequence[Bag], ranking: Ranking) -> int:
    """Count the slides that SISH's step 4 lists before it drops what step 3 has marked."""
    threshold = ranking.hamming_threshold_bits
    slides = []
    for index in ranking.kept:
        bag = bags[index]
        certain = ranking.entropies.get(index) == 0.0
        near = slice(None) if certain or threshold is None else bag.distances <= threshold
        slides.append(bag.slides[near])
    return len(np.unique(np.concatenate(slides))) if slides else 0


def _slides(count: int) -> str:
    return f"{count} slide" if count == 1 else f"{count} slides"
