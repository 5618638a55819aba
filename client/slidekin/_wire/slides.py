"""Slides, their filters, pictures and exports."""

from __future__ import annotations

import numpy as np

from slidekin._names import slide_name
from slidekin._types import AddedSlide, Codes, ExportedSlide, Slide, SlideFilter, Thumbnails
from slidekin._wire.fields import to_time
from slidekin.v1 import common_pb2, slides_pb2


def filter_message(wanted: SlideFilter, *, collection: str) -> common_pb2.SlideFilter:
    """The filter; ids of slides become names within ``collection``."""
    return common_pb2.SlideFilter(
        labels=wanted.labels,
        attributes=[
            common_pb2.AttributeCondition(attribute=name, values=values)
            for name, values in wanted.attributes.items()
        ],
        slides=[slide_name(slide, collection) for slide in wanted.slides],
        exclude_patient_ids=wanted.exclude_patient_ids,
        exclude_slides=[slide_name(slide, collection) for slide in wanted.exclude_slides],
    )


def slide_message(slide: Slide) -> slides_pb2.Slide:
    """The facts a client may state; what the service sets is left out."""
    return slides_pb2.Slide(
        name=slide.name,
        patient_id=slide.patient_id,
        label=slide.label,
        attributes=slide.attributes,
        width_px=slide.width_px,
        height_px=slide.height_px,
        mpp=slide.mpp,
        patch_size_px=slide.patch_size_px,
        source_digest=slide.source_digest,
    )


def to_slide(message: slides_pb2.Slide) -> Slide:
    """A slide as the service knows it."""
    return Slide(
        name=message.name,
        patient_id=message.patient_id,
        label=message.label,
        attributes=dict(message.attributes),
        width_px=message.width_px,
        height_px=message.height_px,
        mpp=message.mpp,
        patch_size_px=message.patch_size_px,
        source_digest=message.source_digest,
        content_digest=message.content_digest,
        patch_count=message.patch_count,
        create_time=to_time(message.create_time, present=message.HasField("create_time")),
    )


def to_added(message: slides_pb2.AddSlideResponse) -> AddedSlide:
    """The answer to an added slide."""
    return AddedSlide(to_slide(message.slide), message.already_present, message.index_version)


def to_export(message: slides_pb2.ExportSlidesResponse) -> ExportedSlide:
    """One slide of an export."""
    patches = message.patches.patches
    width = len(patches[0].code.texture) if patches else 0
    return ExportedSlide(
        slide=to_slide(message.slide),
        codes=Codes(
            keys=np.array([patch.code.key for patch in patches], dtype=np.int64),
            textures=np.frombuffer(
                b"".join(patch.code.texture for patch in patches), dtype=np.uint8
            ).reshape(len(patches), width),
            xy=np.array([(patch.x_px, patch.y_px) for patch in patches], dtype=np.int32).reshape(
                len(patches), 2
            ),
        ),
        model_fingerprint=message.model_fingerprint,
    )


def to_thumbnails(message: slides_pb2.GetThumbnailsResponse) -> Thumbnails:
    """Pictures kept with a slide."""
    return Thumbnails(
        slide=message.slide_thumbnail.data or None,
        patches={entry.patch_index: entry.thumbnail.data for entry in message.patch_thumbnails},
    )
