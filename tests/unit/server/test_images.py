"""Images of patches are refused by their header, before anything is decoded."""

from __future__ import annotations

import struct
import zlib

import pytest
from tests.unit.server.made_bundles import picture

from slidekin_server.encoding import (
    ImageFormat,
    ImageLimits,
    ImageRefusedError,
    PatchImage,
    check_image,
    picture_size_px,
)

LIMITS = ImageLimits(max_bytes=4_000_000, max_pixels=4096 * 4096)
JPEG, PNG, RGB = ImageFormat.JPEG, ImageFormat.PNG, ImageFormat.RGB


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_that_states(width: int, height: int) -> bytes:
    """A PNG file whose header is all there is of it."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"")


def refusal(image: PatchImage, limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(ImageRefusedError) as caught:
        check_image(image, limits)
    return str(caught.value)


@pytest.mark.parametrize("edge", [64, 512, 1024, 2048, 4096])
@pytest.mark.parametrize("kind", [JPEG, PNG])
def test_square_files_of_64_to_4096_px_are_taken(kind: ImageFormat, edge: int):
    data = picture(edge, edge, kind.value)
    check_image(PatchImage(kind, data), ImageLimits(100_000_000, 4096 * 4096))
    assert picture_size_px(data, kind) == (edge, edge)


def test_raw_pixels_of_a_patch_are_taken():
    check_image(PatchImage(RGB, bytes(1024 * 1024 * 3), 1024, 1024), LIMITS)


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        (PatchImage(JPEG, b""), "empty"),
        (PatchImage(JPEG, b"no image at all"), "no JPEG image"),
        (PatchImage(PNG, picture(kind="JPEG")), "no PNG image"),
        (PatchImage(JPEG, picture(kind="PNG")), "no JPEG image"),
        (PatchImage(JPEG, picture(kind="JPEG")[:20]), "no JPEG image"),
        (PatchImage(PNG, picture()[:20]), "no PNG image"),
        (PatchImage(PNG, picture(1, 1)), "1 x 1 px: a patch's edge has 64 to 4096 px"),
        (PatchImage(PNG, picture(63, 63)), "63 x 63 px"),
        (PatchImage(PNG, picture(1024, 512)), "1024 x 512 px: a patch is square"),
        (PatchImage(PNG, png_that_states(4097, 4097)), "at most 16777216 in all"),
        (PatchImage(PNG, png_that_states(12_000, 12_000)), "absurd"),
        (PatchImage(PNG, png_that_states(30_000, 30_000)), "absurd"),
        (PatchImage(PNG, png_that_states(0, 0)), "no PNG image|64 to 4096"),
        (PatchImage(PNG, bytes(4_000_001)), "4000001 bytes, at most 4000000"),
        (PatchImage(RGB, bytes(12), 2, 2), "2 x 2 px: raw pixels are taken as 1024 x 1024 only"),
        (PatchImage(RGB, bytes(12), 1024, 1024), "12 bytes, 1024 x 1024 px take 3145728"),
        (PatchImage(RGB, bytes(12), -1, 2**31 - 1), "-1 x 2147483647 px"),
    ],
)
def test_what_is_no_patch_is_refused_with_the_reason(image: PatchImage, wanted: str):
    found = refusal(image)
    assert any(one in found for one in wanted.split("|")), found


def test_a_lower_limit_of_pixels_is_kept():
    found = refusal(PatchImage(PNG, picture(2048, 2048)), ImageLimits(10**8, 1024 * 1024))
    assert "at most 1048576" in found
