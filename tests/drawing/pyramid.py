"""Pyramidal tiled TIFF files, written tile by tile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

TILE_PX = 512
STEP = 4
"""From one level to the next, as scanners do it."""

Pixels = NDArray[np.uint8]
TileSource = Callable[[int, int], Pixels]
"""Gives the tile (`TILE_PX`, `TILE_PX`, 3) whose top-left corner is column x, row y."""


def write_pyramid(
    path: Path, width_px: int, height_px: int, tile: TileSource, *, mpp: float | None
) -> None:
    """Write a slide that OpenSlide reads as ``generic-tiff``: JPEG tiles, levels 4 times smaller.

    Level 0 is asked for tile by tile, a row at a time and from several threads; only the next
    level, a sixteenth of the pixels, is kept in memory.

    Args:
        path: The file to write.
        width_px: Of level 0.
        height_px: Of level 0.
        tile: Draws a tile; called for tiles that stick out on the right and below too.
        mpp: Micrometres per pixel for the resolution tags; None leaves them out.
    """
    with tifffile.TiffWriter(path, bigtiff=width_px * height_px > 1e9) as writer:
        level = 0
        while True:
            columns, rows = -(-width_px // TILE_PX), -(-height_px // TILE_PX)
            side = TILE_PX // STEP
            smaller = np.empty((rows * side, columns * side, 3), np.uint8)
            scale = None if mpp is None else 1e4 / (mpp * STEP**level)
            writer.write(
                _encode(columns, rows, tile, smaller),
                shape=(height_px, width_px, 3),
                dtype=np.uint8,
                tile=(TILE_PX, TILE_PX),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                subfiletype=1 if level else 0,
                resolution=None if scale is None else (scale, scale),
                resolutionunit=None if scale is None else "CENTIMETER",
                metadata=None,
                software="slidekin tests.drawing",
            )
            if max(width_px, height_px) <= 1024:
                return
            width_px, height_px, level = width_px // STEP, height_px // STEP, level + 1
            tile = _tiles_of(smaller)


def _encode(columns: int, rows: int, tile: TileSource, smaller: Pixels) -> Iterator[bytes]:
    side = TILE_PX // STEP

    def draw(place: tuple[int, int]) -> bytes:
        column, row = place
        image = Image.fromarray(tile(column * TILE_PX, row * TILE_PX))
        window = smaller[row * side : (row + 1) * side, column * side : (column + 1) * side]
        window[:] = np.asarray(image.reduce(STEP))
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=88, subsampling="4:2:0")
        return buffer.getvalue()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row in range(rows):
            yield from pool.map(draw, [(column, row) for column in range(columns)])


def _tiles_of(pixels: Pixels) -> TileSource:
    def tile(x: int, y: int) -> Pixels:
        part = pixels[y : y + TILE_PX, x : x + TILE_PX]
        missing = ((0, TILE_PX - part.shape[0]), (0, TILE_PX - part.shape[1]), (0, 0))
        return np.pad(part, missing, mode="edge")

    return tile
