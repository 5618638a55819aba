"""A search result as GeoJSON that QuPath and other viewers read: polygons in level-0 pixels."""

from __future__ import annotations

from typing import Any

from slidekin._types import Evidence, RankedSlide, SearchResult

_QUERY_COLOUR = (31, 119, 180)
_MATCHED_COLOUR = (214, 96, 20)
_UNKNOWN_EDGE_PX = 1024
"""Drawn where nobody stated how large a patch is."""


def to_geojson(result: SearchResult) -> dict[str, Any]:
    """The query's mosaic and the patches it matched, as one FeatureCollection.

    The query's patches (``properties.role`` is ``query``) lie on the query slide. Each matched
    patch (``match``) lies on the slide that ``properties.slide`` names, in that slide's pixels: a
    viewer that shows one slide selects by that property.
    """
    query = result.query
    edge_px = query.patch_size_px or _UNKNOWN_EDGE_PX
    matched: dict[int, list[dict[str, Any]]] = {}
    for found in result.slides:
        for pair in found.evidence:
            matched.setdefault(pair.query_patch_index, []).append(
                {
                    "slide": found.slide.name,
                    "rank": found.rank,
                    "hamming_distance_bits": pair.hit.hamming_distance_bits,
                }
            )
    features = [
        _feature(
            f"query-{index}",
            (x, y),
            edge_px,
            {
                "role": "query",
                "slide": query.slide_id,
                "patch_index": index,
                "matches": matched.get(index, []),
                **_qupath(f"query patch {index + 1}", "Query patch", _QUERY_COLOUR),
            },
        )
        for index, (x, y) in enumerate(query.positions)
    ]
    features += [
        _match(found, pair, number)
        for found in result.slides
        for number, pair in enumerate(found.evidence)
    ]
    return {
        "type": "FeatureCollection",
        "properties": {
            "query": query.slide_id,
            "collection": result.collection,
            "coordinates": "level-0 pixels of the slide that each feature names",
            "random_weights": result.random_weights,
        },
        "features": features,
    }


def _match(found: RankedSlide, pair: Evidence, number: int) -> dict[str, Any]:
    hit = pair.hit
    title = f"rank {found.rank}: {found.slide.slide_id}, patch {hit.patch_index + 1}"
    return _feature(
        f"match-{found.rank}-{number}",
        (hit.x_px, hit.y_px),
        found.slide.patch_size_px or _UNKNOWN_EDGE_PX,
        {
            "role": "match",
            "slide": hit.slide,
            "label": found.slide.label,
            "rank": found.rank,
            "patch_index": hit.patch_index,
            "query_patch_index": pair.query_patch_index,
            "hamming_distance_bits": hit.hamming_distance_bits,
            **_qupath(title, "Matched patch", _MATCHED_COLOUR),
        },
    )


def _feature(
    identifier: str, corner: tuple[int, int], edge_px: int, properties: dict[str, Any]
) -> dict[str, Any]:
    x, y = corner
    ring = [[x, y], [x + edge_px, y], [x + edge_px, y + edge_px], [x, y + edge_px], [x, y]]
    return {
        "type": "Feature",
        "id": identifier,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties,
    }


def _qupath(name: str, classification: str, colour: tuple[int, int, int]) -> dict[str, Any]:
    """Properties by which QuPath names and colours an annotation."""
    return {
        "objectType": "annotation",
        "name": name,
        "classification": {"name": classification, "color": list(colour)},
    }
