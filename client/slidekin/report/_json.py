"""A search result as plain JSON values."""

from __future__ import annotations

import dataclasses
from typing import Any

from slidekin._types import Hit, PatchHits, RankedSlide, SearchResult

SCHEMA = 1
"""Grows where a field changes its meaning or goes away."""


def to_json(result: SearchResult) -> dict[str, Any]:
    """Everything a search answered, pictures excepted; coordinates are level-0 pixels.

    Keys are stable within one ``schema``; units stand in their names.
    """
    query = result.query
    return {
        "schema": SCHEMA,
        "collection": result.collection,
        "random_weights": result.random_weights,
        "model_fingerprint": result.model_fingerprint,
        "index_version": result.index_version,
        "options": dataclasses.asdict(result.options),
        "query": {
            "slide_id": query.slide_id,
            "width_px": query.width_px,
            "height_px": query.height_px,
            "mpp": query.mpp,
            "patch_size_px": query.patch_size_px,
            "mosaic_profile": query.mosaic_profile,
            "region": list(query.region) if query.region else None,
            "patch_count": result.query_patch_count,
            "patches": [{"x_px": x, "y_px": y} for x, y in query.positions],
        },
        "slides": [_ranked(found) for found in result.slides],
        "short_reasons": list(result.short_reasons),
        "short_messages": list(result.short_messages),
        "modes": dict(result.modes),
        "timings": dataclasses.asdict(result.timings),
        "patch_hits": [_hits(hits) for hits in result.patch_hits],
        "ranking_details": None
        if result.details is None
        else {
            "entropies": {str(index): value for index, value in result.details.entropies.items()},
            "kept": list(result.details.kept),
            "removed": list(result.details.removed),
            "hamming_threshold": result.details.hamming_threshold,
            "label_weights": dict(result.details.label_weights),
        },
    }


def _ranked(found: RankedSlide) -> dict[str, Any]:
    slide = found.slide
    return {
        "rank": found.rank,
        "slide_id": slide.slide_id,
        "name": slide.name,
        "patient_id": slide.patient_id,
        "label": slide.label,
        "attributes": dict(slide.attributes),
        "hamming_distance_bits": found.hamming_distance_bits,
        "entropy": found.entropy,
        "score": found.score,
        "method": found.method,
        "query_patch_index": found.query_patch_index,
        "evidence": [
            {
                "query_patch_index": pair.query_patch_index,
                "query_x_px": pair.query_x_px,
                "query_y_px": pair.query_y_px,
                "hit": _hit(pair.hit),
            }
            for pair in found.evidence
        ],
    }


def _hits(hits: PatchHits) -> dict[str, Any]:
    return {
        "query_patch_index": hits.query_patch_index,
        "mode": hits.mode,
        "hit_count": hits.hit_count,
        "hits": [_hit(hit) for hit in hits.hits],
    }


def _hit(hit: Hit) -> dict[str, Any]:
    # dataclasses.asdict copies deeply: hits are many and flat.
    return {
        "slide": hit.slide,
        "patch_index": hit.patch_index,
        "x_px": hit.x_px,
        "y_px": hit.y_px,
        "key": hit.key,
        "hamming_distance_bits": hit.hamming_distance_bits,
    }
