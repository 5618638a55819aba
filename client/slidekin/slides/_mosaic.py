"""The mosaic: the few patches that stand for a slide (SISH's two stages of k-means)."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slidekin._exceptions import NoTissueError, RegionError
from slidekin.slides._geometry import Position, Region
from slidekin.slides._parallel import ordered_map
from slidekin.slides._slide import Slide
from slidekin.slides._tissue import Tissue, TissueSettings, find_tissue

PatchFilter = Callable[[Image.Image], bool]
"""Sees a patch (RGB, 256 x 256) that passed the white filter; false drops it."""

Progress = Callable[[str, int, int], None]
"""Told the stage (``tissue``, ``patches``, ``mosaic``), steps done, and steps in all."""

_EDGE_SLACK = 0.1
"""The grid may stick out on the far side by a tenth of a patch, padded with background: 2040 px
hold two patches of 1024 rather than one."""

_ONE_THREAD = threading.Lock()
"""The limit on threads is the process's: two mosaics made at once would restore each other's."""


@dataclass(frozen=True)
class MosaicSettings:
    """Numbers of the mosaic, each with its reason."""

    profile: str = "default"
    """Under which name its results are compared."""

    histogram_mpp: float | None = 2.0
    """Histograms and white filter look at the pyramid level nearest this: 5x, where a patch has
    the 256 px they need. None: at level 0, shrunk, as published (16 times the pixels to read)."""

    histogram_px: int = 256
    """Side of the picture of a patch that they look at, as published."""

    colour_clusters: int = 9
    """As published; fewer where there are fewer different patches."""

    sample_share: float = 0.05
    """Of each colour cluster, as published; a cluster of under 20 patches is taken whole."""

    white_grey: int = 235
    """Grey above which a pixel is white, as published."""

    max_white_share: float = 0.9
    """A patch with a larger share of white pixels is dropped, as published."""

    seed: int = 0
    """Of k-means, as published: the same slide always has the same mosaic."""

    n_init: int = 10
    """Starts of k-means, of which the best counts: scikit-learn's default at the time, which the
    published program relied upon; now it has to be said."""


DEFAULT = MosaicSettings()
SISH_2022 = MosaicSettings(profile="sish-2022", histogram_mpp=None)
PROFILES: Mapping[str, MosaicSettings] = MappingProxyType(
    {settings.profile: settings for settings in (DEFAULT, SISH_2022)}
)


@dataclass(frozen=True, eq=False)
class Mosaic:
    """The patches that stand for a slide, or for a region of it."""

    slide_id: str
    dimensions: tuple[int, int]
    """Width and height of the slide, level-0 pixels."""

    mpp: float
    """Micrometres per level-0 pixel."""

    patch_size_px: int
    """Side of a patch in level-0 pixels."""

    positions: tuple[Position, ...]
    """Top-left corners, sorted by row, then column."""

    settings: MosaicSettings
    region: Region | None
    tissue: Tissue
    """Of the whole slide, with the small picture it was found on."""

    grid_patches: int
    """Patches on the grid that hold tissue."""

    clean_patches: int
    """Of them, those that are not white: what the mosaic was picked from."""


@dataclass(frozen=True, eq=False)
class _Clean:
    """Patches of the grid that passed the filters."""

    corners: NDArray[np.int64]
    """(patches, 2): x and y."""

    histograms: NDArray[np.int64]
    """(patches, 768): counts of 256 values of red, of green, of blue."""


def make_mosaic(
    slide: Slide,
    settings: MosaicSettings = DEFAULT,
    *,
    tissue_settings: TissueSettings | None = None,
    region: Region | None = None,
    patch_filter: PatchFilter | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Mosaic:
    """Pick the mosaic of a slide. The same slide and settings always give the same one.

    Args:
        slide: Open.
        settings: `DEFAULT` or `SISH_2022`.
        tissue_settings: Default: `TissueSettings()`.
        region: Take patches from this part of the slide alone. A side shorter than a patch gives
            one patch, centred on it.
        patch_filter: Drops further patches (pen marks, folds), on the grid and in the mosaic.
        workers: Reading threads; default: one a core, at most 4.
        progress: Told how far it is, in the caller's thread.

    Raises:
        RegionError: The region is empty or reaches outside the slide.
        NoTissueError: No tissue, or every patch of it is white or filtered out.
        UnreadableSlideError: The pixels cannot be read.
    """
    if region is not None and not region.inside(slide.dimensions):
        raise RegionError(
            f"the region {region.x},{region.y},{region.width},{region.height} (x,y,width,height) "
            f"does not lie on the slide, which is {slide.dimensions[0]} x {slide.dimensions[1]} "
            "level-0 pixels: give one inside it",
            path=slide.path,
        )
    tell: Progress = progress or (lambda _stage, _done, _total: None)
    tell("tissue", 0, 1)
    tissue_settings = tissue_settings or TissueSettings()
    tissue = find_tissue(slide, tissue_settings, workers=workers)
    tell("tissue", 1, 1)

    look = _Look(slide, settings, patch_filter)
    corners = [
        corner
        for corner in grid(tissue, slide.patch_size_px, region)
        if tissue.share(*corner, slide.patch_size_px) >= tissue_settings.min_patch_share
    ]
    clean = _look_at_grid(look, corners, workers, tell)
    if not len(clean.corners):
        raise NoTissueError(
            f"{'the region' if region else 'it'} has too little tissue for a patch "
            f"({len(corners)} patches of 512 um held some, none was clean enough): "
            f"{'give a region that holds' if region else 'give a slide with'} more tissue",
            path=slide.path,
        )
    candidates = pick(clean.corners, clean.histograms, settings)
    positions = _recheck(look, candidates, clean.corners, workers, tell)
    return Mosaic(
        slide_id=slide.slide_id,
        dimensions=slide.dimensions,
        mpp=slide.mpp,
        patch_size_px=slide.patch_size_px,
        positions=positions,
        settings=settings,
        region=region,
        tissue=tissue,
        grid_patches=len(corners),
        clean_patches=len(clean.corners),
    )


def grid(tissue: Tissue, side_px: int, region: Region | None = None) -> list[Position]:
    """Patches side by side over the tissue's bounding box, row by row, without overlap.

    They are centred on the box and stay on the slide (in the region), but for a tenth of a patch,
    and unless that is smaller than one patch.
    """
    width, height = tissue.dimensions
    area = (0, 0, width, height)
    if region is not None:
        left, right = _widen(region.x, region.x + region.width, side_px, width)
        top, bottom = _widen(region.y, region.y + region.height, side_px, height)
        area = (left, top, right, bottom)
    box = tissue.bounds(*area)
    columns = _axis(area[0], area[2], box[0], box[2], side_px)
    rows = _axis(area[1], area[3], box[1], box[3], side_px)
    return [Position(x, y) for y in rows for x in columns]


def _widen(start: int, end: int, side_px: int, limit: int) -> tuple[int, int]:
    """Room for at least one patch, where the slide has it."""
    if end - start >= side_px:
        return start, end
    start = max(0, min((start + end - side_px) // 2, limit - side_px))
    return start, min(start + side_px, limit)


def _axis(low: int, high: int, first: int, last: int, side_px: int) -> range:
    """Corners of the patches along one axis, for tissue from ``first`` to ``last``."""
    room = high - low
    fit = int(room / side_px + _EDGE_SLACK)
    count = max(1, min(math.ceil((last - first) / side_px), fit))
    length = count * side_px
    start = max(low, min((first + last - length) // 2, high - length))
    return range(start, start + length, side_px)


def pick(
    corners: NDArray[np.int64], histograms: NDArray[np.int64], settings: MosaicSettings
) -> list[Position]:
    """Two stages of k-means: by colour, then in each colour cluster by place.

    Args:
        corners: (patches, 2), x and y.
        histograms: (patches, 768).
        settings: Clusters, share, seed.

    Returns:
        Top-left corners, sorted by row, then column; not on the grid.
    """
    # Both slow to import, and a client that searches by codes never needs them.
    from sklearn.cluster import KMeans  # noqa: PLC0415
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415

    def cluster(points: NDArray[np.int64], count: int) -> KMeans:
        model = KMeans(count, random_state=settings.seed, n_init=settings.n_init)
        return model.fit(points.astype(np.float64))

    # One thread: with more, sums of floats come in any order, and so do their last digits.
    with _ONE_THREAD, threadpool_limits(limits=1):
        # K-means cannot make more clusters than there are different points.
        count = min(settings.colour_clusters, len(np.unique(histograms, axis=0)))
        colours = cluster(histograms, count).labels_
        found: set[Position] = set()
        for colour in range(count):
            members = corners[colours == colour]
            k = int(settings.sample_share * len(members))
            # k = 0 takes all of a small cluster: each patch is its own centre.
            centres = cluster(members, k).cluster_centers_ if k else members.astype(np.float64)
            # Truncated, but 1023.9999999 is a 1024 that lost its last digit on some processor.
            found |= {Position(int(x), int(y)) for x, y in np.round(centres, 3)}
    return sorted(found, key=lambda position: (position.y, position.x))


@dataclass(frozen=True, eq=False)
class _Look:
    """Looks at a patch as the mosaic does: 256 px, from the level that the settings say."""

    slide: Slide
    settings: MosaicSettings
    patch_filter: PatchFilter | None

    def __call__(self, position: Position) -> Image.Image | None:
        """The patch, or None where a filter drops it."""
        mpp = self.settings.histogram_mpp
        level = 0 if mpp is None else self.slide.level_near(mpp)
        side_px, out_px = self.slide.patch_size_px, self.settings.histogram_px
        image = self.slide.read_square(position.x, position.y, side_px, out_px, level)
        if is_white(image, self.settings):
            return None
        return image if self.patch_filter is None or self.patch_filter(image) else None


def is_white(image: Image.Image, settings: MosaicSettings = DEFAULT) -> bool:
    """Whether a patch (RGB, 256 x 256) shows little but glass."""
    counts = image.convert("L").histogram()
    white = sum(counts[settings.white_grey + 1 :])
    return white > settings.max_white_share * image.width * image.height


def _look_at_grid(
    look: _Look, corners: Sequence[Position], workers: int | None, tell: Progress
) -> _Clean:
    def read(position: Position) -> list[int] | None:
        image = look(position)
        return None if image is None else image.histogram()

    kept: list[Position] = []
    histograms: list[NDArray[np.int64]] = []
    tell("patches", 0, len(corners))
    for done, counts in enumerate(ordered_map(read, corners, workers=workers), start=1):
        if counts is not None:
            kept.append(corners[done - 1])
            histograms.append(np.array(counts, np.int64))
        tell("patches", done, len(corners))
    return _Clean(np.array(kept, np.int64).reshape(-1, 2), np.array(histograms).reshape(-1, 768))


def _recheck(
    look: _Look,
    candidates: Sequence[Position],
    corners: NDArray[np.int64],
    workers: int | None,
    tell: Progress,
) -> tuple[Position, ...]:
    """Drop centres that fell on glass: they lie off the grid, so they were not looked at yet."""
    kept: list[Position] = []
    tell("mosaic", 0, len(candidates))
    seen = ordered_map(lambda position: look(position) is not None, candidates, workers=workers)
    for done, clean in enumerate(seen, start=1):
        if clean:
            kept.append(candidates[done - 1])
        tell("mosaic", done, len(candidates))
    if kept:
        return tuple(kept)
    # Every centre fell on glass, as in the middle of a ring: the clean patches nearest to them.
    nearest = {
        Position(*(int(value) for value in corners[((corners - centre) ** 2).sum(1).argmin()]))
        for centre in np.array(candidates)
    }
    return tuple(sorted(nearest, key=lambda position: (position.y, position.x)))
