"""Drawing from a slide."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slidekin.slides import Slide, find_tissue, open_slide
from slidekin_models.sampling.settings import SampleSettings

_TRIES = 50
_OPEN_SLIDES = 64

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in level-0 pixels."""


class SlideSource:
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
        """Hold out the whole slide."""
        self._boxes = {False: None, True: (0, 0, *self._dimensions)}

    def tissue_mm2(self, *, held_out: bool) -> float:
        """Area of the tissue in this part; 0 if no patch fits."""
        box = self._boxes[held_out]
        if box is None or min(box[2] - box[0], box[3] - box[1]) < self._side:
            return 0.0
        step = self._dimensions[0] / self._mask.shape[1] * self._mpp
        return float(np.count_nonzero(self._part(box)[0]) * step**2 / 1e6)

    def draw(self, rng: np.random.Generator, *, held_out: bool) -> Image.Image:
        """Draw a square around a random point of the tissue, completely within this part."""
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
        """Return the part to draw from, and the held-out part: the far end of the longer side."""
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


@lru_cache(maxsize=_OPEN_SLIDES)
def _opened(path: Path, mpp: float | None) -> Slide:
    # Not closed when it falls out of the cache: another thread may be reading. Its last user
    # lets go of it.
    return open_slide(path, mpp=mpp)
