"""Patches as messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from slidekin._types import Codes, ImageFormat, ImagePatch
from slidekin._wire.fields import chosen
from slidekin.v1 import common_pb2

_FORMATS: Mapping[ImageFormat, common_pb2.ImageFormat.ValueType] = {
    "jpeg": common_pb2.IMAGE_FORMAT_JPEG,
    "png": common_pb2.IMAGE_FORMAT_PNG,
    "rgb": common_pb2.IMAGE_FORMAT_RGB,
}


def image_patch_message(patch: ImagePatch) -> common_pb2.Patch:
    """A patch to be encoded by the service."""
    message = common_pb2.Patch(x_px=patch.x_px, y_px=patch.y_px)
    # Filled in place: a message that is given to another one is copied, its pixels several times.
    image = message.image
    image.format = chosen(_FORMATS, patch.format, "format")
    image.data = patch.data
    image.width_px = patch.width_px
    image.height_px = patch.height_px
    if patch.thumbnail is not None:
        message.thumbnail.CopyFrom(jpeg_message(patch.thumbnail))
    return message


def jpeg_message(data: bytes) -> common_pb2.Image:
    """A JPEG file."""
    return common_pb2.Image(format=common_pb2.IMAGE_FORMAT_JPEG, data=data)


def code_messages(codes: Codes) -> Iterator[common_pb2.Patch]:
    """Ready-made codes, patch by patch."""
    for key, texture, (x, y) in zip(
        codes.keys.tolist(), codes.textures, codes.xy.tolist(), strict=True
    ):
        yield common_pb2.Patch(
            x_px=x, y_px=y, code=common_pb2.Code(key=key, texture=texture.tobytes())
        )
