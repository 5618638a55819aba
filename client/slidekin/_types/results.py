"""What a search finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slidekin._types.search import Query, SearchOptions
from slidekin._types.slides import Slide


@dataclass(frozen=True, slots=True)
class Hit:
    """A patch that looks like a query patch."""

    slide: str
    """Resource name of its slide."""
    patch_index: int
    """Its index in that slide, from 0."""
    x_px: int
    """Its left edge in level-0 pixels."""
    y_px: int
    """Its top edge in level-0 pixels."""
    key: int
    """Its key."""
    hamming_distance_bits: int
    """Hamming distance of the textures."""


@dataclass(frozen=True, slots=True)
class PatchHits:
    """The hits of one query patch: SISH's bag."""

    query_patch_index: int
    """Index of the query patch, from 0."""
    hits: tuple[Hit, ...]
    """Hits, closest first, cut to ``max_hits_per_patch``."""
    hit_count: int
    """Hits found before the cut."""
    mode: str
    """``guided`` or ``exact``."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A pair of patches that look alike: why a slide was found."""

    query_patch_index: int
    """Index of the query patch, from 0."""
    query_x_px: int
    """Left edge of the query patch in level-0 pixels of the query."""
    query_y_px: int
    """Top edge of the query patch in level-0 pixels of the query."""
    hit: Hit
    """The matched patch."""


@dataclass(frozen=True, slots=True)
class RankedSlide:
    """A slide that was found."""

    rank: int
    """Place in the list, from 1."""
    slide: Slide
    """The slide."""
    hamming_distance_bits: int
    """Distance of the hit that listed it."""
    query_patch_index: int
    """Query patch that listed it."""
    method: str
    """``uncertainty`` or ``label-free``: what listed it."""
    entropy: float | None
    """Entropy, in bits, of the labels among that patch's hits; None where listed label-free."""
    score: float | None
    """Score of the label-free ranking, 0 to 1; None where listed by uncertainty."""
    evidence: tuple[Evidence, ...]
    """The best matched pairs, closest first."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of a search went, in seconds, by the service's clock."""

    total_s: float = 0.0
    """From the first message to the end."""
    encode_s: float = 0.0
    """Sum over patches of the wait for the networks; overlaps with the others."""
    search_s: float = 0.0
    """Sum over patches of the search in the index."""
    rank_s: float = 0.0
    """The ranking."""


@dataclass(frozen=True, slots=True)
class RankingDetails:
    """How the ranking by uncertainty came about."""

    entropies: Mapping[int, float]
    """Entropy, in bits, of each query patch with at least one hit."""
    kept: tuple[int, ...]
    """Query patches kept by the cleaning, in order."""
    removed: tuple[int, ...]
    """Query patches that contradicted the vote."""
    hamming_threshold: float
    """Mean distance of the kept bags' first five hits, in bits."""
    label_weights: Mapping[str, float]
    """Weight of each label."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to a search."""

    collection: str
    """``collections/{collection}``."""
    options: SearchOptions
    """What was asked for."""
    query: Query
    """What was searched with."""
    slides: tuple[RankedSlide, ...]
    """Slides, best first, at most k."""
    patch_hits: tuple[PatchHits, ...]
    """Final hits of each query patch, in the query's order."""
    short_reasons: tuple[str, ...]
    """Why there are fewer than k, for programs: ``no-hits``, ``filter``, ..."""
    short_messages: tuple[str, ...]
    """The same for people."""
    modes: Mapping[str, int]
    """Query patches that each mode answered."""
    query_patch_count: int
    """Patches in the query."""
    index_version: int
    """Version of the index that was searched."""
    model_fingerprint: str
    """Fingerprint of the collection's model."""
    random_weights: bool
    """The networks' weights are random: the answer says nothing of tissue."""
    timings: Timings
    """Where the time went."""
    details: RankingDetails | None = None
    """How the ranking came about, where asked for."""


@dataclass(frozen=True, slots=True)
class PatchSearchResult:
    """The answer to a search for patches."""

    patch_hits: tuple[PatchHits, ...]
    """Hits of each patch, in the order asked."""
    index_version: int
    """Version of the index that was searched."""
    model_fingerprint: str
    """Fingerprint of the collection's model."""
    random_weights: bool
    """The networks' weights are random: the answer says nothing of tissue."""
