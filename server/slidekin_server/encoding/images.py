"""Images of patches, and the checks that need no decoding."""

from __future__ import annotations

import enum
import io
import re
from dataclasses import dataclass
from itertools import islice

from PIL import Image

from slidekin_server.encoding.errors import ImageRefusedError

PATCH_PX = 1024
"""Edge of the square that the networks get."""
MIN_EDGE_PX, MAX_EDGE_PX = 64, 4096
"""Edges of JPEG and PNG patches that Triton's decoder resizes to `PATCH_PX`."""

MAX_SCANS = 32
"""Most scans of a JPEG file. A progressive one, as programs write it, has ten."""
_START_OF_SCAN = re.compile(rb"\xff\xda")
"""Never occurs in compressed data; a thumbnail inside the file may add a few. (`bytes.count` takes
three times as long where one of the two bytes is frequent.)"""


class ImageFormat(enum.Enum):
    """The format of an image's bytes."""

    JPEG = "JPEG"
    PNG = "PNG"
    RGB = "RGB"
    """Rows from top to bottom without padding, 8 bits a channel."""


@dataclass(frozen=True, slots=True)
class PatchImage:
    """A patch as it was received."""

    format: ImageFormat
    data: bytes
    width_px: int = 0
    """For RGB only; files state their own."""
    height_px: int = 0


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """How large an image may be."""

    max_bytes: int
    max_pixels: int


def picture_size_px(data: bytes, image_format: ImageFormat) -> tuple[int, int]:
    """Return width and height of a JPEG or PNG file from its header; nothing is decoded.

    Raises:
        ImageRefusedError: It is not a file of that format, or absurdly large.
    """
    try:
        with Image.open(io.BytesIO(data), formats=[image_format.value]) as image:
            return image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageRefusedError(
            "the image states an absurd size in pixels: send a smaller one"
        ) from None
    except (OSError, ValueError, SyntaxError):
        raise ImageRefusedError(
            f"the {len(data)} bytes are no {image_format.value} image: "
            "send a whole file and state its format"
        ) from None


def check_image(image: PatchImage, limits: ImageLimits) -> None:
    """Refuse an image that cannot be encoded, as far as its header tells.

    The decoder later refuses a file that is truncated after its header.

    Raises:
        ImageRefusedError: The image cannot be encoded; says why, and what is accepted.
    """
    if not image.data:
        raise ImageRefusedError("the image is empty")
    if len(image.data) > limits.max_bytes:
        raise ImageRefusedError(
            f"the image has {len(image.data)} bytes, at most {limits.max_bytes} are taken: "
            "compress it more"
        )
    if image.format is ImageFormat.RGB:
        _check_raw(image)
        return
    if image.format is ImageFormat.JPEG:
        _check_scans(image.data)
    width, height = picture_size_px(image.data, image.format)
    size = f"the image has {width} x {height} px"
    if width * height > limits.max_pixels:
        raise ImageRefusedError(
            f"{size}, at most {limits.max_pixels} in all are taken: send it smaller"
        )
    if width != height:
        raise ImageRefusedError(f"{size}: a patch is square")
    if not MIN_EDGE_PX <= width <= MAX_EDGE_PX:
        raise ImageRefusedError(
            f"{size}: a patch's edge has {MIN_EDGE_PX} to {MAX_EDGE_PX} px, best {PATCH_PX}"
        )


def _check_scans(data: bytes) -> None:
    # A progressive file may have any number of scans over its pixels, at 33 bytes each.
    if any(islice(_START_OF_SCAN.finditer(data), MAX_SCANS, None)):
        raise ImageRefusedError(
            f"the JPEG image has more than {MAX_SCANS} scans, which no program needs: save it anew"
        )


def _check_raw(image: PatchImage) -> None:
    if (image.width_px, image.height_px) != (PATCH_PX, PATCH_PX):
        raise ImageRefusedError(
            f"the RGB image has {image.width_px} x {image.height_px} px: raw pixels are taken as "
            f"{PATCH_PX} x {PATCH_PX} only; send a JPEG or PNG file to have it resized"
        )
    expected = PATCH_PX * PATCH_PX * 3
    if len(image.data) != expected:
        raise ImageRefusedError(
            f"the RGB image has {len(image.data)} bytes, {PATCH_PX} x {PATCH_PX} px take {expected}"
        )
