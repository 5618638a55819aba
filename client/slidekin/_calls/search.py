"""The searches that are one call each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from slidekin import _wire
from slidekin._calls.call import Call
from slidekin._names import collection_name, slide_name
from slidekin._types import Codes, ImagePatch, PatchSearchResult, Query, SearchOptions, SearchResult
from slidekin.v1 import search_pb2


def search_stored_slide(
    slide: str, collection: str | None, options: SearchOptions
) -> Call[SearchResult]:
    name = slide_name(slide, collection)
    parent = name.partition("/slides/")[0]

    def result(response: search_pb2.SearchStoredSlideResponse) -> SearchResult:
        return _wire.to_result(
            response.ranked_slides,
            collection=parent,
            options=options,
            query=Query(slide_id=name.rpartition("/")[2]),
            patch_hits=[_wire.to_patch_hits(hits) for hits in response.patch_hits],
        )

    request = search_pb2.SearchStoredSlideRequest(
        name=name, options=_wire.options_message(options, collection=parent)
    )
    return Call("SearchService", "SearchStoredSlide", request, result, is_search=True)


def search_patches(
    patches: Codes | Sequence[ImagePatch],
    collection: str,
    *,
    options: SearchOptions,
    model_fingerprint: str,
) -> Call[PatchSearchResult]:
    request = search_pb2.SearchPatchesRequest(
        parent=collection_name(collection),
        options=_wire.options_message(options, collection=collection),
        model_fingerprint=model_fingerprint,
        patches=_wire.code_messages(patches)
        if isinstance(patches, Codes)
        else [_wire.image_patch_message(patch) for patch in patches],
    )
    return Call("SearchService", "SearchPatches", request, _wire.to_patch_search, is_search=True)


def with_k(options: SearchOptions | None, k: int | None) -> SearchOptions:
    """The options, with ``k`` where it is given."""
    options = options or SearchOptions()
    return options if k is None else dataclasses.replace(options, k=k)
