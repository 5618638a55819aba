"""The calls of a reindex."""

from __future__ import annotations

from collections.abc import Sequence

from slidekin import _wire
from slidekin._calls.call import PAGE_SIZE, Call, Page
from slidekin._names import collection_name, slide_name
from slidekin._types import Collection, Reindex, Slide
from slidekin.v1 import collections_pb2


def start_reindex(
    collection: str, *, model_fingerprint: str, texture_bits: int, hamming_threshold_bits: int
) -> Call[Reindex]:
    request = collections_pb2.StartReindexRequest(
        name=collection_name(collection),
        model_fingerprint=model_fingerprint,
        texture_bits=texture_bits,
        hamming_threshold_bits=hamming_threshold_bits,
    )
    return Call("CollectionService", "StartReindex", request, _reindex)


def get_reindex(collection: str) -> Call[Reindex]:
    request = collections_pb2.GetReindexRequest(name=collection_name(collection))
    return Call("CollectionService", "GetReindex", request, _reindex)


def list_pending_slides(collection: str, page_token: str) -> Call[Page[Slide]]:
    def page(response: collections_pb2.ListPendingSlidesResponse) -> Page[Slide]:
        return Page(
            tuple(_wire.to_slide(entry) for entry in response.slides), response.next_page_token
        )

    request = collections_pb2.ListPendingSlidesRequest(
        parent=collection_name(collection), page_size=PAGE_SIZE, page_token=page_token
    )
    return Call("CollectionService", "ListPendingSlides", request, page)


def finish_reindex(
    collection: str, model_fingerprint: str, drop_slides: Sequence[str]
) -> Call[Collection]:
    def finished(response: collections_pb2.FinishReindexResponse) -> Collection:
        return _wire.to_collection(response.collection)

    request = collections_pb2.FinishReindexRequest(
        name=collection_name(collection),
        model_fingerprint=model_fingerprint,
        drop_slides=[slide_name(slide, collection) for slide in drop_slides],
    )
    # Of a large collection every slide's row is written anew.
    return Call("CollectionService", "FinishReindex", request, finished, is_search=True)


def cancel_reindex(collection: str) -> Call[int]:
    def cancelled(response: collections_pb2.CancelReindexResponse) -> int:
        return int(response.discarded_slides)

    request = collections_pb2.CancelReindexRequest(name=collection_name(collection))
    return Call("CollectionService", "CancelReindex", request, cancelled)


def _reindex(
    response: collections_pb2.StartReindexResponse | collections_pb2.GetReindexResponse,
) -> Reindex:
    return _wire.to_reindex(response.reindex)
