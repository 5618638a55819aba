from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from slidekin_models.decoding import decode_patch
from slidekin_models.errors import ImageRefusedError
from slidekin_models.networks.seeded import golden_image


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG without the pixels it promises: refused by its header, or called damaged."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    empty = b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + empty


PIXELS = golden_image(1024)
WHOLE = encoded(Image.fromarray(PIXELS))


def test_a_png_comes_back_to_the_last_bit() -> None:
    np.testing.assert_array_equal(decode_patch(WHOLE), PIXELS)


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 95, "subsampling": "4:4:4"},
        {"quality": 80, "subsampling": "4:2:2"},
        {"quality": 30, "subsampling": "4:2:0"},
        {"quality": 90, "progressive": True},
        {"quality": 90, "restart_marker_rows": 4},
        {"quality": 90, "keep_rgb": True},
    ],
    ids=lambda options: ", ".join(map(str, options.values())),
)
def test_a_jpeg_comes_back_as_pillow_decodes_it(options: dict[str, object]) -> None:
    data = encoded(Image.fromarray(PIXELS), "JPEG", **options)
    np.testing.assert_array_equal(decode_patch(data), np.asarray(Image.open(io.BytesIO(data))))


def test_a_grey_jpeg_comes_back_as_pillow_decodes_it() -> None:
    data = encoded(Image.fromarray(PIXELS).convert("L"), "JPEG")
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(decode_patch(data), expected)


def test_a_jpeg_of_another_size_is_resized_bicubically() -> None:
    data = encoded(Image.fromarray(golden_image(512)), "JPEG")
    image = Image.open(io.BytesIO(data)).resize((1024, 1024), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(decode_patch(data), np.asarray(image))


def test_of_a_jpeg_with_bytes_too_many_pillow_shows_what_it_can() -> None:
    whole = encoded(Image.fromarray(PIXELS), "JPEG", quality=90)
    data = whole[:-2] + bytes(100) + whole[-2:]
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg(data)
    np.testing.assert_array_equal(decode_patch(data), np.asarray(Image.open(io.BytesIO(data))))


def test_half_a_jpeg_is_refused() -> None:
    whole = encoded(Image.fromarray(PIXELS), "JPEG")
    with pytest.raises(ImageRefusedError, match="truncated or damaged"):
        decode_patch(whole[: len(whole) // 2])


@pytest.mark.parametrize("side_px", [64, 512, 2048])
def test_another_size_is_resized_bicubically(side_px: int) -> None:
    image = Image.fromarray(golden_image(side_px))
    expected = np.asarray(image.resize((1024, 1024), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(decode_patch(encoded(image)), expected)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA"])
def test_grey_palette_and_opaque_images_become_rgb(mode: str) -> None:
    pixels = decode_patch(encoded(Image.fromarray(PIXELS).convert(mode)))
    assert pixels.shape == (1024, 1024, 3)
    assert pixels.dtype == np.uint8


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (1024, 1024), (0, 0, 0, 0))
    assert (decode_patch(encoded(clear)) == 255).all()


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "no bytes"),
        (b"\x00" * 100, "not a JPEG or PNG image"),
        (encoded(Image.new("RGB", (64, 64)), "BMP"), "not a JPEG or PNG image"),
        (WHOLE[: len(WHOLE) // 2], "truncated or damaged"),
        (WHOLE[:20], "not a JPEG or PNG image|truncated or damaged"),
        (encoded(Image.new("RGB", (1, 1))), "1 x 1 px; at least 64 x 64 px"),
        (png_header(5000, 5000), "5000 x 5000 px; at most 4096 x 4096 px"),
        (png_header(30000, 30000), "at most 4096 x 4096 px"),
        (png_header(1024, 512), "1024 x 512 px; a patch is square"),
        (encoded(Image.new("I;16", (1024, 1024))), "pixels of kind I;16"),
        (encoded(Image.new("CMYK", (1024, 1024)), "JPEG"), "pixels of kind CMYK"),
    ],
    ids=[
        "empty",
        "zeros",
        "bmp",
        "half",
        "stub",
        "1px",
        "5000px",
        "30000px",
        "oblong",
        "16 bit",
        "cmyk",
    ],
)
def test_a_bad_image_is_refused_with_its_cause(data: bytes, cause: str) -> None:
    with pytest.raises(ImageRefusedError, match=cause):
        decode_patch(data)
