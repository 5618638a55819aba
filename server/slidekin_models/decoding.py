"""From the bytes of an image file to the pixels of a patch.

The bytes are not trusted: an image's header is checked before any pixel is decoded.
"""

from __future__ import annotations

import io
import re
import warnings
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from slidekin_models.errors import ImageRefusedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATCH_PX = 1024
MIN_PX = 64
"""Below this, most of the scaled-up patch would be interpolated."""
MAX_PX = 4096
"""512 micrometres at 0.125 mpp, twice as fine as a 40x scan."""
MAX_SCANS = 32
"""A progressive JPEG may have any number of scans over its pixels, at 33 bytes each."""
_JPEG = b"\xff\xd8"
_START_OF_SCAN = re.compile(rb"\xff\xda")
"""`bytes.count` takes three times as long where one of the two bytes is frequent."""
_FORMATS = ("JPEG", "PNG")
_MODES = ("RGB", "RGBA", "L", "P", "1")


def decode_patch(data: bytes) -> NDArray[np.uint8]:
    """Decode a square JPEG or PNG and resize it to the patch's size.

    Args:
        data: The file's bytes. Its side is 64 to 4096 px; a side other than 1024 px is resized
            (bicubic), as for a patch read at another magnification.

    Returns:
        Shape (1024, 1024, 3), uint8 RGB. Transparency becomes white, like a slide's background.

    Raises:
        ImageRefusedError: The bytes are not such an image; the text says why.
    """
    if not data:
        msg = "no bytes"
        raise ImageRefusedError(msg)
    if data.startswith(_JPEG) and any(islice(_START_OF_SCAN.finditer(data), MAX_SCANS, None)):
        msg = f"more than {MAX_SCANS} scans; save it anew"
        raise ImageRefusedError(msg)
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            # Pillow's own warning about large images is less precise than the check of the size.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            _check_header(image)
            return _pixels(image, data)
    except ImageRefusedError:
        raise
    except Image.DecompressionBombError:
        msg = f"more pixels than any patch has; at most {MAX_PX} x {MAX_PX} px are taken"
        raise ImageRefusedError(msg) from None
    except UnidentifiedImageError:
        msg = "not a JPEG or PNG image"
        raise ImageRefusedError(msg) from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        msg = f"truncated or damaged: {error}"
        raise ImageRefusedError(msg) from error


def _check_header(image: Image.Image) -> None:
    width, height = image.size
    if max(width, height) > MAX_PX:
        msg = f"{width} x {height} px; at most {MAX_PX} x {MAX_PX} px are taken"
        raise ImageRefusedError(msg)
    if min(width, height) < MIN_PX:
        msg = f"{width} x {height} px; at least {MIN_PX} x {MIN_PX} px are needed"
        raise ImageRefusedError(msg)
    if width != height:
        msg = f"{width} x {height} px; a patch is square"
        raise ImageRefusedError(msg)
    if image.mode not in _MODES:
        msg = f"pixels of kind {image.mode}; 8-bit RGB or grey are taken"
        raise ImageRefusedError(msg)


def _pixels(image: Image.Image, data: bytes) -> NDArray[np.uint8]:
    if image.format == "JPEG" and image.mode == "RGB":
        pixels = _jpeg_pixels(data)
        if pixels is not None and image.size == (PATCH_PX, PATCH_PX):
            return pixels
        rgb = image if pixels is None else Image.fromarray(pixels)
    elif image.mode == "RGBA" or "transparency" in image.info:
        layer = image.convert("RGBA")
        background = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        rgb = Image.alpha_composite(background, layer).convert("RGB")
    else:
        # Pillow would copy an image that is already RGB.
        rgb = image if image.mode == "RGB" else image.convert("RGB")
    if rgb.size != (PATCH_PX, PATCH_PX):
        rgb = rgb.resize((PATCH_PX, PATCH_PX), Image.Resampling.BICUBIC)
    return np.asarray(rgb, dtype=np.uint8)


def _jpeg_pixels(data: bytes) -> NDArray[np.uint8] | None:
    """Decode to the same pixels as Pillow in less time; None where Pillow must decide."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB")
    except ValueError:  # damaged, however slightly: Pillow takes what can still be shown
        return None
    return pixels
