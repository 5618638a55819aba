"""Small image files of every kind that comes in, whole and odd."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def picture(kind: str, mode: str = "RGB", side: int = 64, **options: object) -> bytes:
    """An image file of random pixels."""
    random = np.random.default_rng(side)
    pixels = random.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((side, side)).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


PICTURES = (
    picture("JPEG"),
    picture("JPEG", side=72, progressive=True, quality=30),
    picture("JPEG", "L"),
    picture("JPEG", "CMYK"),
    picture("PNG"),
    picture("PNG", "P", transparency=1),
    picture("PNG", "RGBA"),
    picture("PNG", "1"),
    picture("PNG", "I;16", side=64),
    picture("PNG", side=32),
    picture("GIF", "P"),
    picture("TIFF"),
)
