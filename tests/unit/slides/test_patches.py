from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from slidekin.slides import (
    SISH_2022,
    encode_patch,
    image_thumbnail,
    make_mosaic,
    patch_thumbnail,
    read_patches,
)


def test_patches_come_in_the_order_of_the_mosaic(slide):
    mosaic = make_mosaic(slide)
    patches = list(read_patches(slide, mosaic, workers=3))
    assert [(patch.x, patch.y) for patch in patches] == list(mosaic.positions)
    for patch in patches:
        assert patch.image.tobytes() == slide.read_patch(patch.x, patch.y).tobytes()


def test_published_profile_reads_level_0(slide):
    mosaic = make_mosaic(slide, SISH_2022)
    patch = next(iter(read_patches(slide, mosaic)))
    level_0 = slide.read_patch(patch.x, patch.y, level_0=True)
    assert patch.image.tobytes() == level_0.tobytes()


def test_patches_are_not_read_far_ahead(large, monkeypatch):
    mosaic = make_mosaic(large)
    read, whole = [], large.read_patch

    def counted(*place, **options):
        read.append(place)
        return whole(*place, **options)

    monkeypatch.setattr(large, "read_patch", counted)
    assert len(mosaic.positions) > 8
    for consumed, _ in enumerate(read_patches(large, mosaic, workers=2, ahead=3), start=1):
        assert len(read) <= consumed + 3


@pytest.fixture
def patch(slide):
    return slide.read_patch(900, 900)


def test_raw_and_png_keep_every_pixel(patch):
    raw = encode_patch(patch, "raw")
    assert len(raw) == 1024 * 1024 * 3
    assert raw == np.asarray(patch).tobytes()
    with Image.open(BytesIO(encode_patch(patch, "png"))) as png:
        assert png.format == "PNG"
        assert png.tobytes() == raw


def test_jpeg_is_small_and_close(patch):
    encoded = encode_patch(patch)
    assert len(encoded) < 1024 * 1024
    with Image.open(BytesIO(encoded)) as jpeg:
        assert (jpeg.format, jpeg.size, jpeg.mode) == ("JPEG", (1024, 1024), "RGB")
        difference = np.abs(np.asarray(jpeg, float) - np.asarray(patch, float))
    assert difference.mean() < 3
    assert len(encode_patch(patch, quality=70)) < len(encoded)


def test_other_formats_and_modes_are_refused(patch):
    with pytest.raises(ValueError, match="jpeg, png or raw"):
        encode_patch(patch, "webp")
    with pytest.raises(ValueError, match="RGB"):
        encode_patch(patch.convert("L"))


def test_thumbnails_are_small_and_leave_the_patch_alone(patch):
    with Image.open(BytesIO(patch_thumbnail(patch))) as small:
        assert small.size == (96, 96)
    with Image.open(BytesIO(image_thumbnail(patch.resize((400, 200)), 100))) as small:
        assert small.size == (100, 50)
    assert patch.size == (1024, 1024)
