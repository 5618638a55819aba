"""Patches and pictures of a request, checked and taken out of their messages."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from slidekin.v1 import common_pb2
from slidekin_server.api.validation import Checker, InvalidRequestError, checking, refuse
from slidekin_server.archive.patches import Patch
from slidekin_server.config import Limits
from slidekin_server.encoding import (
    EncodedPatch,
    ImageFormat,
    ImageRefusedError,
    PatchImage,
    picture_size_px,
)
from slidekin_server.storage import Picture, PictureFormat
from slidekin_server.telemetry import note

_IMAGE_FORMATS = {
    common_pb2.IMAGE_FORMAT_JPEG: ImageFormat.JPEG,
    common_pb2.IMAGE_FORMAT_PNG: ImageFormat.PNG,
    common_pb2.IMAGE_FORMAT_RGB: ImageFormat.RGB,
}
_PICTURE_FORMATS = {
    common_pb2.IMAGE_FORMAT_JPEG: PictureFormat.JPEG,
    common_pb2.IMAGE_FORMAT_PNG: PictureFormat.PNG,
}
_PICTURE_IMAGE_FORMATS = {
    PictureFormat.JPEG: ImageFormat.JPEG,
    PictureFormat.PNG: ImageFormat.PNG,
}


class PatchReader:
    """Reads the patches of one stream and numbers them.

    Args:
        limits: What is accepted at most.
        size_px: Width and height of the slide at level 0; 0 where unknown.
        pictures: Where the patches' thumbnails go, by index; None: they are not wanted.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        size_px: tuple[int, int] = (0, 0),
        pictures: dict[int, Picture] | None = None,
    ) -> None:
        self._limits = limits
        self._size_px = size_px
        self._pictures = pictures
        self._read = 0

    def read(self, messages: Iterable[common_pb2.Patch]) -> list[Patch]:
        """Return the next patches of the stream.

        Raises:
            InvalidRequestError: One of them is wrong, or the slide has too many.
        """
        patches = []
        with checking() as check:
            for message in messages:
                if self._read >= self._limits.max_patches_per_slide:
                    raise too_many_patches("patches", self._limits)
                index = self._read
                self._read += 1
                patch = self._patch(check, index, message)
                if patch is not None:
                    patches.append(patch)
                note(patches=self._read)
        return patches

    def _patch(self, check: Checker, index: int, message: common_pb2.Patch) -> Patch | None:
        field = f"patches[{index}]"
        for axis, place, size in zip(
            ("x_px", "y_px"), (message.x_px, message.y_px), self._size_px, strict=True
        ):
            if place < 0 or (size and place >= size):
                check.fault(f"{field}.{axis}", f"{place} lies outside the slide")
        if self._pictures is not None and message.HasField("thumbnail"):
            found = picture(check, f"{field}.thumbnail", message.thumbnail, self._limits)
            if found is not None:
                self._pictures[index] = found
        match message.WhichOneof("content"):
            case "code":
                content: PatchImage | EncodedPatch | None = _code(check, field, message.code)
            case "image":
                content = _image(check, f"{field}.image", message.image, self._limits)
            case _:
                check.fault(field, "holds neither an image nor a code")
                content = None
        return None if content is None else Patch(index, message.x_px, message.y_px, content)


def too_many_patches(field: str, limits: Limits) -> InvalidRequestError:
    """Return the error for a slide or query of more patches than are taken."""
    return refuse(
        field,
        f"there are more than {limits.max_patches_per_slide}; take a sparser mosaic",
        reason="TOO_MANY_PATCHES",
    )


def picture(
    check: Checker, field: str, message: common_pb2.Image, limits: Limits
) -> Picture | None:
    """Return a thumbnail; None where a fault was noted."""
    picture_format = _PICTURE_FORMATS.get(message.format)
    if picture_format is None:
        check.fault(f"{field}.format", "is not JPEG or PNG")
        return None
    if len(message.data) > limits.max_thumbnail_bytes:
        check.fault(
            f"{field}.data",
            f"has {len(message.data)} bytes; a thumbnail has at most {limits.max_thumbnail_bytes}",
        )
        return None
    try:
        picture_size_px(message.data, _PICTURE_IMAGE_FORMATS[picture_format])
    except ImageRefusedError as error:
        check.fault(field, str(error))
        return None
    return Picture(picture_format, message.data)


def _code(check: Checker, field: str, message: common_pb2.Code) -> EncodedPatch | None:
    if message.key < 0:
        check.fault(f"{field}.code.key", f"{message.key} is negative")
        return None
    if not message.texture:
        check.fault(f"{field}.code.texture", "is empty")
        return None
    return EncodedPatch(message.key, np.frombuffer(message.texture, dtype=np.uint8))


def _image(
    check: Checker, field: str, message: common_pb2.Image, limits: Limits
) -> PatchImage | None:
    image_format = _IMAGE_FORMATS.get(message.format)
    if image_format is None:
        check.fault(f"{field}.format", "is not JPEG, PNG or RGB")
        return None
    data = message.data  # a copy, each time that it is asked for
    if not data:
        check.fault(f"{field}.data", "is empty")
        return None
    if len(data) > limits.max_image_bytes:
        check.fault(
            f"{field}.data",
            f"has {len(data)} bytes; an image has at most {limits.max_image_bytes}",
        )
        return None
    return PatchImage(image_format, data, width_px=message.width_px, height_px=message.height_px)
