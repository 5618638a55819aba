"""The messages of the calls that are streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from slidekin import _wire
from slidekin._batching import in_batches
from slidekin._exceptions import InternalError
from slidekin._names import collection_name
from slidekin._outgoing import Outgoing, check_size
from slidekin._types import PatchHits, SearchOptions, SearchResult, Slide, SlideFilter
from slidekin.v1 import common_pb2, search_pb2, slides_pb2


def export_request(collection: str, wanted: SlideFilter) -> slides_pb2.ExportSlidesRequest:
    """The request of an export."""
    return slides_pb2.ExportSlidesRequest(
        parent=collection_name(collection),
        filter=_wire.filter_message(wanted, collection=collection),
    )


def add_messages(
    slide: Slide,
    patches: Iterator[common_pb2.Patch],
    *,
    replace: bool,
    model_fingerprint: str,
    thumbnail: bytes | None,
    for_reindex: bool,
    profile: str,
    max_message_bytes: int,
) -> Iterator[slides_pb2.AddSlideRequest]:
    """The messages of AddSlide: the header, filled batches, the end."""
    stated = _wire.slide_message(slide)
    if for_reindex:
        # Which version of the slide was read again.
        stated.content_digest = slide.content_digest
    yield slides_pb2.AddSlideRequest(
        header=slides_pb2.AddSlideHeader(
            slide=stated,
            for_reindex=for_reindex,
            profile=profile,
            replace=replace,
            model_fingerprint=model_fingerprint,
            thumbnail=_wire.jpeg_message(thumbnail) if thumbnail else None,
        )
    )
    sent = 0
    for batch in in_batches(check_size(patches, max_message_bytes)):
        sent += len(batch.patches)
        yield slides_pb2.AddSlideRequest(patches=batch)
    yield slides_pb2.AddSlideRequest(end=slides_pb2.AddSlideEnd(patch_count=sent))


def search_messages(
    collection: str,
    options: SearchOptions,
    patches: Iterator[common_pb2.Patch],
    *,
    model_fingerprint: str,
    max_message_bytes: int,
) -> Iterator[search_pb2.SearchSlideRequest]:
    """The messages of SearchSlide: the header, then filled batches."""
    yield search_pb2.SearchSlideRequest(
        header=search_pb2.SearchSlideHeader(
            parent=collection_name(collection),
            options=_wire.options_message(options, collection=collection),
            model_fingerprint=model_fingerprint,
            batch_hits=True,
        )
    )
    for batch in in_batches(check_size(patches, max_message_bytes)):
        yield search_pb2.SearchSlideRequest(patches=batch)


class SearchReader:
    """Reads the answers of one SearchSlide stream.

    Args:
        collection: Where is searched.
        options: What is wanted.
        outgoing: What is searched with.
    """

    def __init__(self, collection: str, options: SearchOptions, outgoing: Outgoing) -> None:
        self._collection = collection_name(collection)
        self._options = options
        self._outgoing = outgoing
        self._hits: list[PatchHits] = []
        self._complete = False

    def read(self, response: search_pb2.SearchSlideResponse) -> list[PatchHits | SearchResult]:
        """The hits of some patches, or at the end the result with all of them."""
        match response.WhichOneof("payload"):
            case "patch_hits_batch":
                return self._read(response.patch_hits_batch.patch_hits)
            case "patch_hits":  # of a service that knows of no batches
                return self._read([response.patch_hits])
        self._complete = True
        return [
            _wire.to_result(
                response.ranked_slides,
                collection=self._collection,
                options=self._options,
                query=self._outgoing.query(),
                patch_hits=self._hits,
            )
        ]

    def _read(self, messages: Iterable[search_pb2.PatchHits]) -> list[PatchHits | SearchResult]:
        hits = [_wire.to_patch_hits(message) for message in messages]
        self._hits += hits
        return [*hits]

    def check_complete(self) -> None:
        """Raises where the stream ended well and without a result.

        Raises:
            InternalError: It did.
        """
        if not self._complete:
            raise InternalError(
                "the service ended the search without a result; its log says more",
                code="INTERNAL",
                reason="INCOMPLETE_ANSWER",
            )
