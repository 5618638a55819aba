"""Drawn slides, one at a time or a labelled collection."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.drawing.patterns import GLASS, PATTERNS, SIDE_PX, noise, texture
from tests.drawing.pyramid import TILE_PX, write_pyramid

_MAP_STEP = 16
"""The outline and the regions are drawn this many times smaller than the slide."""

_SIDE_PX = 2816
"""Of a slide; its tissue then covers two by two patches."""

_TISSUE_SHARE = 0.68
_TEXTURES = 3
"""Drawn per pattern of a slide of several patterns, so that its patches differ."""


@dataclass(frozen=True, eq=False)
class DrawnSlide:
    """What was drawn, to compare with what is found."""

    path: Path
    patterns: tuple[str, ...]
    seed: int
    tissue: NDArray[np.bool_]
    """(rows, columns), true where there is tissue."""
    downsample: int
    """Level-0 pixels per pixel of ``tissue``."""


def draw_slide(
    path: Path,
    pattern: str | Sequence[str],
    *,
    seed: int = 0,
    width_px: int = _SIDE_PX,
    height_px: int = _SIDE_PX,
    mpp: float | None = 0.5,
    tissue_px: tuple[int, int] | None = None,
) -> DrawnSlide:
    """Draw one section, round and a little ragged, in the middle of clear glass.

    Args:
        path: The TIFF file to write.
        pattern: Of `PATTERNS`; several lie side by side, as in an organ.
        seed: The same seed draws the same slide.
        width_px: Of level 0.
        height_px: Of level 0.
        mpp: Written into the file; None writes no resolution. The drawing is always to 0.5.
        tissue_px: Width and height of the section; (0, 0) leaves the glass empty.
    """
    patterns = (pattern,) if isinstance(pattern, str) else tuple(pattern)
    rng = np.random.default_rng([seed, zlib.crc32("/".join(patterns).encode())])
    across, down = tissue_px or (round(width_px * _TISSUE_SHARE), round(height_px * _TISSUE_SHARE))
    shape = (-(-height_px // _MAP_STEP), -(-width_px // _MAP_STEP))
    outline = _outline(rng, shape, across / _MAP_STEP, down / _MAP_STEP)
    variants = 1 if len(patterns) == 1 else _TEXTURES
    textures = [
        np.pad(texture(name, seed + 1000 * n), ((0, TILE_PX), (0, TILE_PX), (0, 0)), mode="wrap")
        for name in patterns
        for n in range(variants)
    ]
    regions = _regions(rng, shape, len(textures))

    def tile(x: int, y: int) -> NDArray[np.uint8]:
        return _tile(x, y, outline, regions, textures)

    write_pyramid(path, width_px, height_px, tile, mpp=mpp)
    return DrawnSlide(path, patterns, seed, outline > 0.5, _MAP_STEP)


def draw_collection(
    out: Path,
    *,
    patterns: Sequence[str] = PATTERNS,
    patients: int = 3,
    slides_per_patient: int = 2,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Draw slides of each pattern for some patients, and their label file.

    As it comes: 4 patterns x 3 patients x 2 slides. Leaving the query's patient out, each pattern
    then has 4 slides to be found. A slide's mosaic is 4 patches.

    Args:
        out: The folder to fill; made where it is missing.
        patterns: Of `PATTERNS`; a pattern is a slide's label.
        patients: For each pattern.
        slides_per_patient: Blocks cut from each.
        seed: Draws another collection.
        progress: Told the slide's name, how many are drawn, and how many there will be.

    Returns:
        The label file ``labels.csv``: slide, patient, label, block.
    """
    out.mkdir(parents=True, exist_ok=True)
    plan = [
        (pattern, patient, block)
        for pattern in patterns
        for patient in range(1, patients + 1)
        for block in range(1, slides_per_patient + 1)
    ]
    labels = out / "labels.csv"
    with labels.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["slide", "patient", "label", "block"])
        for done, (pattern, patient, block) in enumerate(plan, start=1):
            name = f"{pattern}-p{patient}-s{block}"
            draw_slide(out / f"{name}.tiff", pattern, seed=seed + 100 * patient + block)
            table.writerow([name, f"{pattern}-p{patient}", pattern, f"A{block}"])
            if progress:
                progress(name, done, len(plan))
    return labels


def _outline(
    rng: np.random.Generator, shape: tuple[int, int], width: float, height: float
) -> NDArray[np.float32]:
    """1 in the section, 0 on glass, and in between along a ragged edge."""
    if not width or not height:
        return np.zeros(shape, np.float32)
    row, column = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    aside = np.abs(column - (shape[1] - 1) / 2) / (width / 2)
    along = np.abs(row - (shape[0] - 1) / 2) / (height / 2)
    radius = (aside**3 + along**3) ** (1 / 3)
    ragged = 0.03 * (1 + np.clip(noise(rng, shape, (width / 9, height / 9)), -1.5, 1))
    ragged += 0.006 * np.clip(noise(rng, shape, (2, 2)), -2, 2)
    edge_px = min(width, height) / 2
    return np.clip((1 - radius - ragged) * edge_px + 0.5, 0, 1).astype(np.float32)


def _regions(rng: np.random.Generator, shape: tuple[int, int], count: int) -> NDArray[np.uint8]:
    """Which texture fills which place: patches of a few millimetres."""
    best = np.full(shape, -np.inf, np.float32)
    regions = np.zeros(shape, np.uint8)
    for number in range(count if count > 1 else 0):
        height = noise(rng, shape, (180, 180))
        regions[height > best] = number
        best = np.maximum(best, height)
    return regions


def _tile(
    x: int,
    y: int,
    outline: NDArray[np.float32],
    regions: NDArray[np.uint8],
    textures: Sequence[NDArray[np.uint8]],
) -> NDArray[np.uint8]:
    """One tile of level 0: textures by region, glass around them."""
    span = TILE_PX // _MAP_STEP
    # One pixel of the map more on each side, to blend across the tile's border.
    rows = np.clip(np.arange(y // _MAP_STEP - 1, y // _MAP_STEP + span + 1), 0, len(outline) - 1)
    columns = np.arange(x // _MAP_STEP - 1, x // _MAP_STEP + span + 1)
    place = np.ix_(rows, np.clip(columns, 0, outline.shape[1] - 1))
    cover = outline[place]
    glass = np.array(GLASS, np.uint8)
    if not cover.any():
        return np.broadcast_to(glass, (TILE_PX, TILE_PX, 3)).copy()
    left, top = x % SIDE_PX, y % SIDE_PX
    window = np.s_[top : top + TILE_PX, left : left + TILE_PX]
    here = regions[place][1:-1, 1:-1]
    present = np.unique(here)
    pixels = textures[present[0]][window].copy()
    for number in present[1:]:
        mask = np.kron(here == number, np.ones((_MAP_STEP, _MAP_STEP), bool))
        np.copyto(pixels, textures[number][window], where=mask[..., None])
    if cover.min() < 1:
        side = (span + 2) * _MAP_STEP
        smooth = Image.fromarray(cover).resize((side, side), Image.Resampling.BILINEAR)
        alpha = np.asarray(smooth)[_MAP_STEP:-_MAP_STEP, _MAP_STEP:-_MAP_STEP, None]
        pixels = (glass + (pixels.astype(np.float32) - glass) * alpha).astype(np.uint8)
    return pixels
