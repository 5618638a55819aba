"""Where the tissue is: SISH's segmentation on a small picture of the slide."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slidekin._exceptions import NoTissueError
from slidekin.slides._slide import Slide


@dataclass(frozen=True)
class TissueSettings:
    """Numbers of the segmentation, each with its reason."""

    downsample: float = 64.0
    """Of the picture it works on, as published."""

    min_side_px: int = 1024
    """...but the picture's longer side is not made smaller than this: on a biopsy, 64 times
    smaller, the 7 px median would swallow the tissue."""

    median_px: int = 7
    """Side of the median blur of the saturation, as published: dust goes, edges stay."""

    threshold: int | Literal["otsu"] = 8
    """Saturation (of 255) above which a pixel is tissue, as published. Glass lies at 0 to 5.
    ``otsu`` finds the threshold from the picture: for slides with tinted glass."""

    closing_px: int = 4
    """Side of the morphological closing, as published: cracks of a section are part of it."""

    min_tissue_um2: float = 26_000.0
    """Smaller pieces are dropped: a tenth of a patch (512 x 512 um), the least that
    ``min_patch_share`` and the white filter let through."""

    min_hole_um2: float = 65_000.0
    """Smaller holes are filled: a quarter of a patch. Vessels, lumina and fat are tissue."""

    min_patch_share: float = 0.1
    """A patch on the grid is looked at from this share of tissue on: the counterpart of the white
    filter, which drops a patch that is more than 90 % white."""


@dataclass(frozen=True, eq=False)
class Tissue:
    """Where a slide's tissue is."""

    mask: NDArray[np.bool_]
    """(height, width) of the overview; true is tissue."""

    overview: Image.Image
    """RGB, the picture that was segmented."""

    dimensions: tuple[int, int]
    """Width and height of the slide, level-0 pixels."""

    mpp: float
    """Micrometres per level-0 pixel."""

    @property
    def downsample(self) -> float:
        """Level-0 pixels per pixel of the mask."""
        return float(self.dimensions[0] / self.mask.shape[1])

    @property
    def area_mm2(self) -> float:
        """Area of the tissue on the glass."""
        slide_mm2 = self.dimensions[0] * self.dimensions[1] * self.mpp**2 / 1e6
        return np.count_nonzero(self.mask) / self.mask.size * slide_mm2

    @cached_property
    def _sums(self) -> NDArray[np.int64]:
        """Summed-area table: (height + 1, width + 1)."""
        sums = np.zeros((self.mask.shape[0] + 1, self.mask.shape[1] + 1), np.int64)
        sums[1:, 1:] = self.mask.cumsum(0).cumsum(1)
        return sums

    def share(self, x: int, y: int, side_px: int) -> float:
        """Share of tissue, 0 to 1, in a square of level-0 pixels; beyond the slide is none."""
        height, width = self.mask.shape
        across, down = width / self.dimensions[0], height / self.dimensions[1]
        left, right = (min(max(round(e * across), 0), width) for e in (x, x + side_px))
        top, bottom = (min(max(round(e * down), 0), height) for e in (y, y + side_px))
        sums = self._sums
        inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return min(1.0, float(inside / (side_px * across * side_px * down)))

    def bounds(self, left: int, top: int, right: int, bottom: int) -> tuple[int, int, int, int]:
        """The smallest rectangle around the tissue within another one, in level-0 pixels.

        Without tissue there: the rectangle itself.
        """
        height, width = self.mask.shape
        across, down = self.dimensions[0] / width, self.dimensions[1] / height
        rows = np.arange(height) * down
        columns = np.arange(width) * across
        part = self.mask & ((rows >= top) & (rows < bottom))[:, None]
        part &= (columns >= left) & (columns < right)
        ys, xs = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
        if not len(ys):
            return left, top, right, bottom
        return (
            max(left, int(xs[0] * across)),
            max(top, int(ys[0] * down)),
            min(right, int((xs[-1] + 1) * across)),
            min(bottom, int((ys[-1] + 1) * down)),
        )


def find_tissue(
    slide: Slide, settings: TissueSettings | None = None, *, workers: int | None = None
) -> Tissue:
    """Segment a slide's tissue by its saturation.

    Args:
        slide: Open.
        settings: Default: `TissueSettings()`.
        workers: Reading threads.

    Raises:
        NoTissueError: There is none.
        UnreadableSlideError: The pixels cannot be read.
    """
    # Slow to import, and a client that searches by codes never needs it.
    from skimage import color, filters, morphology  # noqa: PLC0415

    settings = settings or TissueSettings()
    downsample = max(1.0, min(settings.downsample, max(slide.dimensions) / settings.min_side_px))
    overview = slide.overview(downsample, workers=workers)

    saturation = np.rint(color.rgb2hsv(np.asarray(overview))[..., 1] * 255).astype(np.uint8)
    smooth = filters.median(saturation, _square(settings.median_px), mode="nearest")  # type: ignore[no-untyped-call]
    limit = settings.threshold
    if limit == "otsu":
        limit = round(filters.threshold_otsu(smooth))  # type: ignore[no-untyped-call]
    mask = morphology.closing(smooth > limit, _square(settings.closing_px))

    um2_per_px = (downsample * slide.mpp) ** 2
    mask = morphology.remove_small_objects(mask, max_size=settings.min_tissue_um2 / um2_per_px)
    mask = morphology.remove_small_holes(mask, max_size=settings.min_hole_um2 / um2_per_px)
    if not mask.any():
        raise NoTissueError(
            "no tissue found: empty glass, pieces smaller than "
            f"{settings.min_tissue_um2 / 1e6:g} mm2, or tissue so pale that its saturation stays "
            f"at or below {limit} of 255: give a slide with more tissue, or stained",
            path=slide.path,
        )
    return Tissue(np.asarray(mask, bool), overview, slide.dimensions, slide.mpp)


def _square(side_px: int) -> NDArray[np.uint8]:
    return np.ones((side_px, side_px), np.uint8)
