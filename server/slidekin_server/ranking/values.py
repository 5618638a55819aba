"""The values of a ranking."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class RankingMethod(enum.Enum):
    """How bags are turned into ranked slides."""

    AUTO = "auto"
    """By uncertainty if every slide that was hit has a label, else label-free."""
    UNCERTAINTY = "uncertainty"
    """The published ranking: bags that agree on a label come first."""
    LABEL_FREE = "label_free"
    """Without labels: by how many query patches a slide matches, and how closely."""


class EmptiedBy(enum.Enum):
    """The step at which the uncertainty ranking lost its last slide."""

    NONE = "none"
    """It did not lose it, or was not used."""
    NO_HITS = "no_hits"
    """No bag holds a hit."""
    NO_LABELS = "no_labels"
    """The slides that were hit have no labels (AUTO: not all of them have)."""
    CLEANING = "cleaning"
    """No bag is of usual length: all were dropped as outliers."""
    DISTANCE_FILTER = "distance_filter"
    """No hit of the bags that were kept is near enough."""
    PREDICTION_FILTER = "prediction_filter"
    """All slides were listed by bags that contradict the vote on the label."""


@dataclass(frozen=True, slots=True)
class EvidencePair:
    """A patch of the query and the patch of a ranked slide that it matched."""

    query_patch: int
    """Index of the query's patch."""
    patch: int
    """Index of the matched patch within its slide."""
    key: int
    """The matched patch's key."""
    distance_bits: int
    """Hamming distance of the two textures."""


@dataclass(frozen=True, slots=True)
class RankedSlide:
    """One slide of the answer."""

    slide: int
    """Number of the slide."""
    distance_bits: int
    """Hamming distance of the hit that put the slide here."""
    label: str | None
    """The slide's label."""
    entropy: float | None
    """Entropy of the bag that listed the slide, in bits; None in a label-free ranking."""
    score: float | None
    """Similarity 0..1 in a label-free ranking, else None."""
    query_patch: int
    """The query patch whose bag listed the slide (label-free: which contributed most)."""
    evidence: tuple[EvidencePair, ...]
    """The slide's nearest pairs over all bags, nearest first."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answer to a query, and how it was reached."""

    slides: tuple[RankedSlide, ...]
    """Best first, at most k."""
    method: RankingMethod
    """The method that gave ``slides``; never AUTO."""
    emptied_by: EmptiedBy
    """Why there is no list by uncertainty, if it was tried or AUTO could not try it."""
    entropies: Mapping[int, float]
    """Entropy in bits by query patch, of bags with hits (by uncertainty)."""
    kept: tuple[int, ...]
    """Query patches whose bags were kept, by entropy (by uncertainty)."""
    removed: tuple[int, ...]
    """Query patches whose bags contradict the vote, ascending (by uncertainty)."""
    hamming_threshold_bits: float | None
    """Largest mean distance of a kept bag's first five hits (by uncertainty)."""
    unlabelled_hits: int
    """Hits on slides without a label; the ranking by uncertainty leaves them out."""
