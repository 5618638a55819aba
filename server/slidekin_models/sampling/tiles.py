"""Drawing from image tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from slidekin_models.sampling.settings import SampleSettings, name_hash

_TILES_IN_MEMORY = 1024


class TileSource:
    """The tiles of one folder."""

    def __init__(self, name: str, tiles: Sequence[Path], settings: SampleSettings) -> None:
        self.name = name
        self.skipped: list[str] = []
        self._settings = settings
        sizes = {tile: size for tile in tiles if (size := self._size(tile))}
        # By name, so that adding tiles does not change which are held out.
        by_hash = sorted(sizes, key=lambda tile: name_hash(tile.name))
        held = round(settings.held_out_share * len(by_hash))
        self._tiles = {
            split: sorted(tile for tile in part if min(sizes[tile]) >= settings.side_px)
            for split, part in ((False, by_hash[held:]), (True, by_hash[:held]))
        }
        self._mm2 = {
            split: sum(math.prod(sizes[tile]) for tile in part) * settings.mpp**2 / 1e6
            for split, part in self._tiles.items()
        }

    def tissue_mm2(self, *, held_out: bool) -> float:
        """Area of the tiles in this part."""
        return self._mm2[held_out]

    def draw(self, rng: np.random.Generator, *, held_out: bool) -> Image.Image:
        """A square of a random tile."""
        tiles = self._tiles[held_out]
        tile = tiles[int(rng.integers(len(tiles)))]
        image = _tile(tile, self._settings)
        side = self._settings.side_px
        x = int(rng.integers(image.width - side + 1))
        y = int(rng.integers(image.height - side + 1))
        return image.crop((x, y, x + side, y + side))

    def _size(self, tile: Path) -> tuple[int, int] | None:
        """Return width and height at the patches' resolution; None if it cannot be read."""
        try:
            with Image.open(tile) as image:
                size = _scaled(image.size, self._settings)
        except OSError as error:
            self.skipped.append(f"{tile}: not an image that can be read ({error})")
            return None
        if min(size) < self._settings.side_px:
            self.skipped.append(
                f"{tile}: {size[0]} x {size[1]} px at {self._settings.mpp:g} um per pixel is less "
                f"than a patch of {self._settings.side_px} px: take smaller patches, or say the "
                "tiles' own resolution"
            )
        return size


@lru_cache(maxsize=_TILES_IN_MEMORY)
def _read_tile(path: Path, size: tuple[int, int]) -> Image.Image:
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    return rgb if rgb.size == size else rgb.resize(size, Image.Resampling.BICUBIC)


def _tile(path: Path, settings: SampleSettings) -> Image.Image:
    with Image.open(path) as image:
        size = _scaled(image.size, settings)
    return _read_tile(path, size)


def _scaled(size: tuple[int, int], settings: SampleSettings) -> tuple[int, int]:
    if settings.tile_mpp is None:
        return settings.side_px, settings.side_px
    scale = settings.tile_mpp / settings.mpp
    return round(size[0] * scale), round(size[1] * scale)
