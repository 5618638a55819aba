"""Every unary call of the contract as a value: where it goes, what it asks, how to read the answer.

Both clients make them; neither knows more of a call than this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from slidekin import _wire
from slidekin._batching import in_batches
from slidekin._exceptions import AlreadyExistsError, InternalError
from slidekin._names import collection_name, slide_name
from slidekin._outgoing import Outgoing, check_size
from slidekin._types import (
    Codes,
    Collection,
    ImagePatch,
    PatchHits,
    PatchSearchResult,
    Query,
    SearchOptions,
    SearchResult,
    Slide,
    SlideFilter,
    Status,
    Thumbnails,
)
from slidekin.v1 import admin_pb2, collections_pb2, common_pb2, search_pb2, slides_pb2

PAGE_SIZE = 1000
"""Most that the contract allows: pages cost a round trip each."""

_T = TypeVar("_T")
Service = Literal["CollectionService", "SlideService", "SearchService", "AdminService"]


@dataclass(frozen=True, slots=True)
class Call(Generic[_T]):
    """One unary call."""

    service: Service
    """Its service in ``slidekin.v1``."""
    method: str
    """Its method there."""
    request: Message
    """What is asked."""
    decode: Callable[[Any], _T]
    """Makes the value from the response."""
    repeatable: bool = True
    """Asking twice comes to the same: it may be made again where the answer got lost."""
    is_search: bool = False
    """It takes as long as a search."""


@dataclass(frozen=True, slots=True)
class Page(Generic[_T]):
    """One page of a listing."""

    items: tuple[_T, ...]
    """What is on it."""
    next_token: str
    """Token of the next; empty on the last."""


def get_status() -> Call[Status]:
    return Call("AdminService", "GetStatus", admin_pb2.GetStatusRequest(), _wire.to_status)


def create_collection(wanted: Collection) -> Call[Collection]:
    request = collections_pb2.CreateCollectionRequest(
        collection=collections_pb2.Collection(
            name=wanted.name,
            display_name=wanted.display_name,
            description=wanted.description,
            model_fingerprint=wanted.model_fingerprint,
            texture_bits=wanted.texture_bits,
            hamming_threshold_bits=wanted.hamming_threshold_bits,
        )
    )
    return Call("CollectionService", "CreateCollection", request, _collection)


def get_collection(collection: str) -> Call[Collection]:
    request = collections_pb2.GetCollectionRequest(name=collection_name(collection))
    return Call("CollectionService", "GetCollection", request, _collection)


def list_collections(page_token: str) -> Call[Page[Collection]]:
    def page(response: collections_pb2.ListCollectionsResponse) -> Page[Collection]:
        return Page(
            tuple(_wire.to_collection(entry) for entry in response.collections),
            response.next_page_token,
        )

    request = collections_pb2.ListCollectionsRequest(page_size=PAGE_SIZE, page_token=page_token)
    return Call("CollectionService", "ListCollections", request, page)


def update_collection(
    collection: str, *, display_name: str | None, description: str | None
) -> Call[Collection]:
    changed = _given(display_name=display_name, description=description)
    request = collections_pb2.UpdateCollectionRequest(
        collection=collections_pb2.Collection(name=collection_name(collection), **changed),
        update_mask=FieldMask(paths=list(changed)),
    )
    return Call("CollectionService", "UpdateCollection", request, _collection)


def delete_collection(collection: str, *, force: bool) -> Call[int]:
    request = collections_pb2.DeleteCollectionRequest(name=collection_name(collection), force=force)
    return Call(
        "CollectionService",
        "DeleteCollection",
        request,
        lambda response: int(response.deleted_slides),
        repeatable=False,
    )


def get_slide(slide: str, collection: str | None) -> Call[Slide]:
    request = slides_pb2.GetSlideRequest(name=slide_name(slide, collection))
    return Call("SlideService", "GetSlide", request, _slide)


def batch_get_slides(slides: Sequence[str], collection: str) -> Call[tuple[Slide, ...]]:
    request = slides_pb2.BatchGetSlidesRequest(
        parent=collection_name(collection),
        names=[slide_name(slide, collection) for slide in slides],
    )
    return Call(
        "SlideService",
        "BatchGetSlides",
        request,
        lambda response: tuple(_wire.to_slide(slide) for slide in response.slides),
    )


def list_slides(collection: str, wanted: SlideFilter, page_token: str) -> Call[Page[Slide]]:
    def page(response: slides_pb2.ListSlidesResponse) -> Page[Slide]:
        return Page(
            tuple(_wire.to_slide(entry) for entry in response.slides), response.next_page_token
        )

    request = slides_pb2.ListSlidesRequest(
        parent=collection_name(collection),
        page_size=PAGE_SIZE,
        page_token=page_token,
        filter=_wire.filter_message(wanted, collection=collection),
    )
    return Call("SlideService", "ListSlides", request, page)


def update_slide(
    slide: str,
    collection: str | None,
    *,
    label: str | None,
    attributes: Mapping[str, str] | None,
) -> Call[Slide]:
    changed = _given(label=label, attributes=attributes)
    request = slides_pb2.UpdateSlideRequest(
        slide=slides_pb2.Slide(name=slide_name(slide, collection), **changed),
        update_mask=FieldMask(paths=list(changed)),
    )
    return Call("SlideService", "UpdateSlide", request, _slide)


def delete_slide(slide: str, collection: str | None) -> Call[int]:
    request = slides_pb2.DeleteSlideRequest(name=slide_name(slide, collection))
    return Call(
        "SlideService",
        "DeleteSlide",
        request,
        lambda response: int(response.deleted_patches),
        repeatable=False,
    )


def delete_patient(patient_id: str, collection: str) -> Call[tuple[str, ...]]:
    request = slides_pb2.DeletePatientRequest(
        parent=collection_name(collection), patient_id=patient_id
    )
    return Call(
        "SlideService",
        "DeletePatient",
        request,
        lambda response: tuple(response.deleted_slides),
        repeatable=False,
    )


def get_thumbnails(
    slide: str, collection: str | None, *, patch_indices: Sequence[int], slide_thumbnail: bool
) -> Call[Thumbnails]:
    request = slides_pb2.GetThumbnailsRequest(
        name=slide_name(slide, collection),
        patch_indices=patch_indices,
        slide_thumbnail=slide_thumbnail,
    )
    return Call("SlideService", "GetThumbnails", request, _wire.to_thumbnails)


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

    def read(self, response: search_pb2.SearchSlideResponse) -> PatchHits | SearchResult:
        """The hits of a patch, or at the end the result with all of them."""
        if response.WhichOneof("payload") == "patch_hits":
            hits = _wire.to_patch_hits(response.patch_hits)
            self._hits.append(hits)
            return hits
        self._complete = True
        return _wire.to_result(
            response.ranked_slides,
            collection=self._collection,
            options=self._options,
            query=self._outgoing.query(),
            patch_hits=self._hits,
        )

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


def with_k(options: SearchOptions | None, k: int | None) -> SearchOptions:
    """The options, with ``k`` where it is given."""
    options = options or SearchOptions()
    return options if k is None else dataclasses.replace(options, k=k)


def held_already(held: Slide, wanted: Slide, *, replace: bool) -> bool:
    """Tells whether adding ``wanted`` would change nothing, as the service would judge it.

    Label and attributes may have been changed since a slide was added; they count only where it
    is to be replaced. A patient who is not stated contradicts nobody.

    Raises:
        AlreadyExistsError: The same pixels are held as another patient's, and not to be replaced:
            found out before any of them is read.
    """
    if not wanted.source_digest or held.source_digest != wanted.source_digest:
        return False
    if replace:
        return (held.patient_id, held.label, held.attributes) == (
            wanted.patient_id,
            wanted.label,
            wanted.attributes,
        )
    if wanted.patient_id and held.patient_id != wanted.patient_id:
        raise AlreadyExistsError(
            f"slide {wanted.slide_id!r} is held already, as another patient's: replace it, or "
            "give this one another id",
            code="ALREADY_EXISTS",
            reason="SLIDE_ALREADY_EXISTS",
            resource=wanted.name,
        )
    return True


def _collection(
    response: collections_pb2.CreateCollectionResponse
    | collections_pb2.GetCollectionResponse
    | collections_pb2.UpdateCollectionResponse,
) -> Collection:
    return _wire.to_collection(response.collection)


def _slide(response: slides_pb2.GetSlideResponse | slides_pb2.UpdateSlideResponse) -> Slide:
    return _wire.to_slide(response.slide)


def _given(**fields: str | Mapping[str, str] | None) -> dict[str, Any]:
    """The fields that are to change.

    Raises:
        ValueError: None is.
    """
    changed = {name: value for name, value in fields.items() if value is not None}
    if not changed:
        raise ValueError(f"nothing to change: give {' or '.join(fields)}")
    return changed
