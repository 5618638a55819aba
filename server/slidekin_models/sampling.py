"""Patches of tissue, drawn from slides and image tiles: for training, calibration and gates.

The i-th patch depends on nothing but the files, the settings and i. Whoever stops after a thousand
patches can go on with the next one later, from any thread, and two programs see the same tissue.

Slides are read with ``slidekin.slides``, by the same rules for resolution and tissue as ingest.
No other module of the package may do so: Triton runs them where ``slidekin`` is not installed.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slidekin import NotASlideError, SlideError
from slidekin.slides import TARGET_MPP, Slide, find_tissue, open_slide
from slidekin_models.errors import SamplingError
from slidekin_models.vqvae import DOWNSAMPLING

TILE_SUFFIXES = frozenset([".bmp", ".jpeg", ".jpg", ".png"])
_TIFF_SUFFIXES = frozenset([".tif", ".tiff"])
_SLIDE_SUFFIXES = frozenset(
    [".bif", ".czi", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".vms", ".vmu"]
)
_TRIES = 50
_OPEN_SLIDES = 64
_TILES_IN_MEMORY = 1024
_NAMED_SKIPS = 5

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in level-0 pixels."""


@dataclass(frozen=True, slots=True)
class SampleSettings:
    """What is drawn, and what is held back."""

    side_px: int = 1024
    """Of a patch; a multiple of 16."""
    mpp: float = TARGET_MPP
    """Micrometres per pixel of a patch: 0.5 is 20x."""
    seed: int = 0
    held_out_share: float = 0.0
    """Share of the tissue that is never drawn from unless ``held_out`` asks for it. What is held
    out does not depend on seed or side."""
    hold_out_by: Literal["region", "slide"] = "region"
    """``region`` cuts every slide in two across its longer side; ``slide`` keeps whole slides
    apart, which is the better test where there are many. Tiles are always held out whole."""
    min_tissue: float = 0.5
    """Least share of tissue in a patch of a slide. Tiles are taken as they are."""
    slide_mpp: Mapping[str, float] = field(default_factory=dict)
    """Micrometres per level-0 pixel of slides that do not say it, by the file's name."""
    tile_mpp: float | None = TARGET_MPP
    """Of the tiles; None scales each tile as a whole to one patch."""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            SamplingError: Names the value and what may stand there.
        """
        if self.side_px < DOWNSAMPLING or self.side_px % DOWNSAMPLING:
            msg = f"side_px: {self.side_px} is not a positive multiple of {DOWNSAMPLING}"
            raise SamplingError(msg)
        if not 0 <= self.held_out_share <= 0.9:
            msg = f"held_out_share: {self.held_out_share} is not between 0 and 0.9"
            raise SamplingError(msg)
        for key, mpp in (("mpp", self.mpp), ("tile_mpp", self.tile_mpp)):
            if mpp is not None and not 0.05 <= mpp <= 10:
                msg = f"{key}: {mpp} um per pixel is not believable; 20x is 0.5"
                raise SamplingError(msg)


class _Source(Protocol):
    """A slide, or all tiles of one folder."""

    name: str

    def tissue_mm2(self, *, held_out: bool) -> float:
        """Area to draw from; 0 where no patch fits."""

    def draw(self, rng: np.random.Generator, *, held_out: bool) -> Image.Image:
        """One patch, RGB."""


class TissueSampler:
    """Draws patches from slides and tiles.

    A slide, or a folder of tiles, is drawn with a probability proportional to the square root of
    its tissue's area: large ones count for more, and do not drown the small.

    Attributes:
        settings: As given.
        sources: Names of the slides and folders of tiles that are drawn from.
        skipped: Files that are not, each with the reason.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        settings: SampleSettings,
        *,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """Open the slides and find their tissue.

        Args:
            paths: Files, and folders that are searched with all that is beneath them. Other
                files of a folder are passed over.
            settings: What to draw.
            progress: Called with a line about each slide.

        Raises:
            SamplingError: Nothing there, or nothing of it gives a patch; says why.
        """
        self.settings = settings
        self._sources: list[_Source] = []
        self.skipped: list[str] = []
        say = progress or (lambda _: None)
        for path in paths:
            if not path.exists():
                msg = f"{path}: there is no such file or folder: check the path"
                raise SamplingError(msg)
        for path in paths:
            self._add(path, say)
        if settings.hold_out_by == "slide":
            _hold_out_slides(self._sources, settings.held_out_share)
        self.sources = tuple(source.name for source in self._sources)
        self._weights = {held: self._shares(held_out=held) for held in (False, True)}
        if not self._weights[False].any():
            raise SamplingError(self._why_nothing(paths))

    def patch(self, index: int, *, held_out: bool = False) -> NDArray[np.uint8]:
        """The patch of this number: (side_px, side_px, 3) uint8 RGB. Safe from many threads.

        Raises:
            SamplingError: Nothing is held out, or a file has become unreadable.
        """
        weights = self._weights[held_out]
        if not weights.any():
            msg = (
                f"nothing is held out: a share of {self.settings.held_out_share:g} of this tissue "
                f"has no room for a patch of {self.settings.side_px} px; hold out more, or give "
                "more slides"
            )
            raise SamplingError(msg)
        rng = np.random.default_rng([self.settings.seed, int(held_out), index])
        source = self._sources[int(rng.choice(len(weights), p=weights))]
        try:
            return np.asarray(source.draw(rng, held_out=held_out), np.uint8)
        except (SlideError, OSError) as error:
            raise SamplingError(str(error)) from error

    def patches(
        self, count: int, *, start: int = 0, held_out: bool = False
    ) -> Iterator[NDArray[np.uint8]]:
        """The patches ``start`` to ``start + count - 1``, one by one."""
        return (self.patch(i, held_out=held_out) for i in range(start, start + count))

    def has_held_out(self) -> bool:
        """Whether there are patches that are held out."""
        return bool(self._weights[True].any())

    def _add(self, path: Path, say: Callable[[str], None]) -> None:
        tiles: list[Path] = []
        for found in tissue_files(path) if path.is_dir() else [path]:
            if found.suffix.lower() in TILE_SUFFIXES:
                tiles.append(found)
                continue
            try:
                self._sources.append(_SlideSource(found, self.settings))
                say(f"tissue of {found.name}")
            except NotASlideError as error:
                if found.suffix.lower() in _TIFF_SUFFIXES and _is_image(found):
                    tiles.append(found)
                else:
                    self.skipped.append(str(error))
            except SlideError as error:
                # OpenSlide calls a TIFF without tiles damaged; to Pillow it is a picture.
                if found.suffix.lower() in _TIFF_SUFFIXES and _is_untiled(found):
                    tiles.append(found)
                else:
                    self.skipped.append(str(error))
        if tiles:
            source = _TileSource(path.name, tiles, self.settings)
            self.skipped += source.skipped
            self._sources.append(source)
            say(f"{len(tiles)} tiles of {path.name}")

    def _shares(self, *, held_out: bool) -> NDArray[np.float64]:
        root = np.sqrt([source.tissue_mm2(held_out=held_out) for source in self._sources])
        return root / root.sum() if root.sum() else root

    def _why_nothing(self, paths: Sequence[Path]) -> str:
        where = ", ".join(str(path) for path in paths)
        if not self._sources and not self.skipped:
            return f"{where}: neither slides nor image tiles there: check the path"
        if self._sources and not self.skipped:
            return (
                f"{where}: no room for a patch of {self.settings.side_px} px at "
                f"{self.settings.mpp:g} um per pixel: take smaller patches or larger slides"
            )
        more = len(self.skipped) - _NAMED_SKIPS
        named = "; ".join(self.skipped[:_NAMED_SKIPS]) + (f"; and {more} more" if more > 0 else "")
        return f"no file can be drawn from: {named}"


class _SlideSource:
    """One slide; it keeps the mask, not the pixels."""

    def __init__(self, path: Path, settings: SampleSettings) -> None:
        self.name = path.name
        self._path = path
        self._override = settings.slide_mpp.get(path.name)
        self._settings = settings
        with open_slide(path, mpp=self._override) as slide:
            self._mask = find_tissue(slide).mask
            self._dimensions = slide.dimensions
            self._mpp = slide.mpp
        self._side = max(1, round(settings.side_px * settings.mpp / self._mpp))
        share = settings.held_out_share if settings.hold_out_by == "region" else 0.0
        self._boxes = dict(zip((False, True), self._cut(share), strict=True))

    def hold_out(self) -> None:
        """Keep the whole slide back."""
        self._boxes = {False: None, True: (0, 0, *self._dimensions)}

    def tissue_mm2(self, *, held_out: bool) -> float:
        """Area of the tissue in this part; 0 where no patch fits."""
        box = self._boxes[held_out]
        if box is None or min(box[2] - box[0], box[3] - box[1]) < self._side:
            return 0.0
        step = self._dimensions[0] / self._mask.shape[1] * self._mpp
        return float(np.count_nonzero(self._part(box)[0]) * step**2 / 1e6)

    def draw(self, rng: np.random.Generator, *, held_out: bool) -> Image.Image:
        """A square around a random place of the tissue, wholly within this part."""
        box = self._boxes[held_out]
        assert box is not None
        part, row, column = self._part(box)
        places = np.flatnonzero(part)
        across, down = self._scale()
        best, best_share = (box[0], box[1]), -1.0
        for _ in range(_TRIES):
            place = int(places[rng.integers(len(places))])
            centre_y = (row + place // part.shape[1] + rng.random()) * down
            centre_x = (column + place % part.shape[1] + rng.random()) * across
            x = min(max(round(centre_x - self._side / 2), box[0]), box[2] - self._side)
            y = min(max(round(centre_y - self._side / 2), box[1]), box[3] - self._side)
            share = self._share(x, y)
            if share > best_share:
                best, best_share = (x, y), share
            if share >= self._settings.min_tissue:
                break
        slide = _opened(self._path, self._override)
        level = slide.level_for(self._settings.mpp)
        return slide.read_square(*best, self._side, self._settings.side_px, level)

    def _cut(self, share: float) -> tuple[Box | None, Box | None]:
        """The part to draw from and the part held out: the far end of the longer side."""
        width, height = self._dimensions
        if share == 0:
            return (0, 0, width, height), None
        axis = 0 if height >= width else 1
        tissue = np.cumsum(np.count_nonzero(self._mask, axis=1 - axis))
        first = int(np.searchsorted(tissue, (1 - share) * tissue[-1]))
        cut = round((first + 1) * self._scale()[1 - axis])
        if axis == 0:
            return (0, 0, width, cut), (0, cut, width, height)
        return (0, 0, cut, height), (cut, 0, width, height)

    def _scale(self) -> tuple[float, float]:
        """Level-0 pixels per pixel of the mask, across and down."""
        rows, columns = self._mask.shape
        return self._dimensions[0] / columns, self._dimensions[1] / rows

    def _part(self, box: Box) -> tuple[NDArray[np.bool_], int, int]:
        """The mask within a box, and the row and column at which it begins."""
        across, down = self._scale()
        row, column = round(box[1] / down), round(box[0] / across)
        return self._mask[row : round(box[3] / down), column : round(box[2] / across)], row, column

    def _share(self, x: int, y: int) -> float:
        part = self._part((x, y, x + self._side, y + self._side))[0]
        return float(part.mean()) if part.size else 0.0


class _TileSource:
    """The tiles of one folder."""

    def __init__(self, name: str, tiles: Sequence[Path], settings: SampleSettings) -> None:
        self.name = name
        self.skipped: list[str] = []
        self._settings = settings
        sizes = {tile: size for tile in tiles if (size := self._size(tile))}
        # By name, so that a tile stays on its side when others join it.
        by_hash = sorted(sizes, key=lambda tile: _hash(tile.name))
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
        """Area of the tiles of this part."""
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
        """Width and height at the patches' resolution; None where it cannot be read."""
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


@lru_cache(maxsize=_OPEN_SLIDES)
def _opened(path: Path, mpp: float | None) -> Slide:
    # Not closed when it falls out of the cache: another thread may be reading. Its last user
    # lets go of it.
    return open_slide(path, mpp=mpp)


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


def _is_image(path: Path) -> bool:
    try:
        with Image.open(path):
            return True
    except OSError:
        return False


def _is_untiled(path: Path) -> bool:
    """Whether a TIFF is stored in strips, which no slide of OpenSlide's is."""
    tile_width_tag = 322
    try:
        with Image.open(path) as image:
            return tile_width_tag not in getattr(image, "tag_v2", {})
    except OSError:
        return False


def _hold_out_slides(sources: Sequence[_Source], share: float) -> None:
    slides = [source for source in sources if isinstance(source, _SlideSource)]
    slides.sort(key=lambda source: _hash(source.name))
    for slide in slides[: round(share * len(slides))]:
        slide.hold_out()


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def tissue_files(folder: Path) -> Iterator[Path]:
    """Slides and pictures beneath a folder; one with ``.dcm`` files is a DICOM slide itself."""
    known = TILE_SUFFIXES | _TIFF_SUFFIXES | _SLIDE_SUFFIXES
    for where, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        here = Path(where)
        if any(name.lower().endswith(".dcm") for name in files):
            yield here
        for name in sorted(files):
            if Path(name).suffix.lower() in known and not name.startswith("."):
                yield here / name
