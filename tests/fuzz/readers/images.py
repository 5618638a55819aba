"""Image files of patches: the service's look at their header, and Triton's decoder."""

from __future__ import annotations

import numpy as np
from tests.fuzz.pictures import PICTURES
from tests.fuzz.readers import Reader

from slidekin_models import decoding
from slidekin_models.errors import ImageRefusedError as RefusedByTheDecoder
from slidekin_server.encoding import ImageFormat, ImageRefusedError, PatchImage
from slidekin_server.encoding.images import ImageLimits, check_image

_LIMITS = ImageLimits(max_bytes=8 * 1024 * 1024, max_pixels=decoding.MAX_PX**2)
_FORMATS = tuple(ImageFormat)


def look(data: bytes) -> None:
    """The first byte says which format is claimed; of raw pixels, the next eight their size."""
    if len(data) < 9:
        return
    claimed = _FORMATS[data[0] % len(_FORMATS)]
    width, height = (int.from_bytes(data[at : at + 4], "big", signed=True) for at in (1, 5))
    try:
        check_image(PatchImage(claimed, data[9:], width_px=width, height_px=height), _LIMITS)
    except ImageRefusedError as error:
        assert len(str(error)) < 300, "its message repeats what was sent"


def decode(data: bytes) -> None:
    """What the decoder takes is a patch, and the service would have let it through."""
    try:
        pixels = decoding.decode_patch(data)
    except RefusedByTheDecoder:
        return
    assert pixels.shape == (decoding.PATCH_PX, decoding.PATCH_PX, 3)
    assert pixels.dtype == np.uint8
    kind = ImageFormat.PNG if data.startswith(b"\x89PNG") else ImageFormat.JPEG
    check_image(PatchImage(kind, data), _LIMITS)


_WATCHED = (
    "slidekin_server.encoding.images",
    "slidekin_models.decoding",
    "PIL.PngImagePlugin",
    "PIL.JpegImagePlugin",
    "PIL.ImageFile",
    "PIL.TiffImagePlugin",
    "PIL.MpoImagePlugin",
)

READERS = {
    "image-header": Reader(
        look,
        lambda: [bytes([kind]) + b"\0\0\4\0" * 2 + data for data in PICTURES for kind in range(3)],
        _WATCHED,
        share=3,
        checksummed=True,
    ),
    "image-decoder": Reader(decode, lambda: list(PICTURES), _WATCHED, share=2, checksummed=True),
}
