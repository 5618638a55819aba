"""The calls about slides, and whether one need be added at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from slidekin import _wire
from slidekin._calls.call import PAGE_SIZE, Call, Page, given_fields
from slidekin._exceptions import AlreadyExistsError
from slidekin._names import collection_name, slide_name
from slidekin._types import Slide, SlideFilter, Thumbnails
from slidekin.v1 import slides_pb2


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
    changed = given_fields(label=label, attributes=attributes)
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


def _slide(response: slides_pb2.GetSlideResponse | slides_pb2.UpdateSlideResponse) -> Slide:
    return _wire.to_slide(response.slide)
