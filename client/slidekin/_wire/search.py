"""Searches and what they find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from slidekin._types import (
    Evidence,
    Hit,
    PatchHits,
    PatchSearchResult,
    Query,
    RankedSlide,
    RankingDetails,
    RankingFallback,
    RankingMethod,
    SearchMode,
    SearchOptions,
    SearchResult,
    Timings,
)
from slidekin._wire.fields import chosen, enum_name
from slidekin._wire.slides import filter_message, to_slide
from slidekin.v1 import common_pb2, search_pb2

_MODES: Mapping[SearchMode, common_pb2.SearchMode.ValueType] = {
    "auto": common_pb2.SEARCH_MODE_UNSPECIFIED,
    "guided": common_pb2.SEARCH_MODE_GUIDED,
    "exact": common_pb2.SEARCH_MODE_EXACT,
    "hybrid": common_pb2.SEARCH_MODE_HYBRID,
}
_METHODS: Mapping[RankingMethod, search_pb2.RankingMethod.ValueType] = {
    "auto": search_pb2.RANKING_METHOD_UNSPECIFIED,
    "uncertainty": search_pb2.RANKING_METHOD_UNCERTAINTY,
    "label-free": search_pb2.RANKING_METHOD_LABEL_FREE,
}
_FALLBACKS: Mapping[RankingFallback, search_pb2.RankingFallback.ValueType] = {
    "auto": search_pb2.RANKING_FALLBACK_UNSPECIFIED,
    "none": search_pb2.RANKING_FALLBACK_NONE,
    "label-free": search_pb2.RANKING_FALLBACK_LABEL_FREE,
}


def options_message(options: SearchOptions, *, collection: str) -> search_pb2.SearchOptions:
    """The options of a search in ``collection``, whose slides the filter may name by id."""
    guided = options.guided
    return search_pb2.SearchOptions(
        k=options.k,
        mode=chosen(_MODES, options.mode, "mode"),
        profile=options.profile,
        filter=filter_message(options.filter, collection=collection),
        hamming_threshold_bits=options.hamming_threshold_bits,
        guided=search_pb2.GuidedParameters(
            seed_spacing=guided.seed_spacing,
            seeds_per_side=guided.seeds_per_side,
            successor_steps=guided.successor_steps,
            predecessor_steps=guided.predecessor_steps,
            include_seed_key=guided.include_seed_key,
        ),
        ranking=chosen(_METHODS, options.ranking, "ranking"),
        fallback=chosen(_FALLBACKS, options.fallback, "fallback"),
        label_weight_sum=options.label_weight_sum,
        max_hits_per_patch=options.max_hits_per_patch,
        max_evidence_per_slide=options.max_evidence_per_slide,
        include_ranking_details=options.include_ranking_details,
    )


def to_patch_hits(message: search_pb2.PatchHits) -> PatchHits:
    """The hits of one query patch."""
    return PatchHits(
        query_patch_index=message.query_patch_index,
        hits=tuple(_to_hit(hit) for hit in message.hits),
        hit_count=message.hit_count,
        mode=_mode_name(message.mode),
    )


def to_patch_search(message: search_pb2.SearchPatchesResponse) -> PatchSearchResult:
    """The answer to a search for patches."""
    return PatchSearchResult(
        patch_hits=tuple(to_patch_hits(hits) for hits in message.patch_hits),
        index_version=message.index_version,
        model_fingerprint=message.model_fingerprint,
        random_weights=message.random_weights,
    )


def to_result(
    message: search_pb2.RankedSlides,
    *,
    collection: str,
    options: SearchOptions,
    query: Query,
    patch_hits: Iterable[PatchHits],
) -> SearchResult:
    """The answer to a search.

    Args:
        message: The ranking.
        collection: Resource name of the collection.
        options: What was asked for.
        query: What was searched with.
        patch_hits: Hits in order of arrival; later ones of a patch replace earlier ones.
    """
    final = {hits.query_patch_index: hits for hits in patch_hits}
    timings = message.timings
    details = message.details
    return SearchResult(
        collection=collection,
        options=options,
        query=query,
        slides=tuple(_to_ranked(slide) for slide in message.slides),
        patch_hits=tuple(final[index] for index in sorted(final)),
        short_reasons=tuple(
            enum_name(search_pb2.ShortReason.DESCRIPTOR, reason, "SHORT_REASON_")
            for reason in message.short_reasons
        ),
        short_messages=tuple(message.short_messages),
        modes={_mode_name(count.mode): count.patches for count in message.modes},
        query_patch_count=message.query_patch_count,
        index_version=message.index_version,
        model_fingerprint=message.model_fingerprint,
        random_weights=message.random_weights,
        timings=Timings(
            total_s=timings.total.ToTimedelta().total_seconds(),
            encode_s=timings.encode.ToTimedelta().total_seconds(),
            search_s=timings.search.ToTimedelta().total_seconds(),
            rank_s=timings.rank.ToTimedelta().total_seconds(),
        ),
        details=RankingDetails(
            entropies=dict(details.entropies),
            kept=tuple(details.kept),
            removed=tuple(details.removed),
            hamming_threshold=details.hamming_threshold,
            label_weights=dict(details.label_weights),
        )
        if message.HasField("details")
        else None,
    )


def _to_ranked(message: search_pb2.RankedSlide) -> RankedSlide:
    return RankedSlide(
        rank=message.rank,
        slide=to_slide(message.slide),
        hamming_distance_bits=message.hamming_distance_bits,
        query_patch_index=message.query_patch_index,
        method=enum_name(search_pb2.RankingMethod.DESCRIPTOR, message.method, "RANKING_METHOD_"),
        entropy=message.entropy if message.HasField("entropy") else None,
        score=message.score if message.HasField("score") else None,
        evidence=tuple(
            Evidence(
                query_patch_index=pair.query_patch_index,
                query_x_px=pair.query_x_px,
                query_y_px=pair.query_y_px,
                hit=_to_hit(pair.hit),
            )
            for pair in message.evidence
        ),
    )


def _to_hit(message: search_pb2.Hit) -> Hit:
    return Hit(
        slide=message.slide,
        patch_index=message.patch_index,
        x_px=message.x_px,
        y_px=message.y_px,
        key=message.key,
        hamming_distance_bits=message.hamming_distance_bits,
    )


def _mode_name(mode: int) -> str:
    return enum_name(common_pb2.SearchMode.DESCRIPTOR, mode, "SEARCH_MODE_")
