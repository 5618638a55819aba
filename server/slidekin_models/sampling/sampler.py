"""The sampler: all slides and folders of tiles together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slidekin import NotASlideError, SlideError
from slidekin_models.errors import SamplingError
from slidekin_models.sampling.files import (
    TIFF_SUFFIXES,
    TILE_SUFFIXES,
    is_image,
    is_untiled,
    tissue_files,
)
from slidekin_models.sampling.settings import SampleSettings, name_hash
from slidekin_models.sampling.slides import SlideSource
from slidekin_models.sampling.tiles import TileSource

_NAMED_SKIPS = 5


class Source(Protocol):
    """A slide, or all tiles of one folder."""

    name: str

    def tissue_mm2(self, *, held_out: bool) -> float:
        """Area to draw from; 0 if no patch fits."""

    def draw(self, rng: np.random.Generator, *, held_out: bool) -> Image.Image:
        """One patch, RGB."""


class TissueSampler:
    """Draws patches from slides and tiles.

    A slide, or a folder of tiles, is drawn with a probability proportional to the square root of
    its tissue's area: large ones are drawn more often, but do not crowd out small ones.

    Attributes:
        settings: The settings.
        sources: Names of the slides and folders of tiles to draw from.
        skipped: Files that are not used, each with the reason.
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
            paths: Files, and folders that are searched with their subfolders. Other files in a
                folder are skipped.
            settings: What to draw.
            progress: Called with a line about each slide.

        Raises:
            SamplingError: There are no slides or tiles, or none gives a patch; says why.
        """
        self.settings = settings
        self._sources: list[Source] = []
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
        """Draw the patch with this number: (side_px, side_px, 3) uint8 RGB. Thread-safe.

        Raises:
            SamplingError: Nothing is held out, or a file can no longer be read.
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
        """Yield the patches ``start`` to ``start + count - 1``."""
        return (self.patch(i, held_out=held_out) for i in range(start, start + count))

    def has_held_out(self) -> bool:
        """Whether there are held-out patches."""
        return bool(self._weights[True].any())

    def _add(self, path: Path, say: Callable[[str], None]) -> None:
        tiles: list[Path] = []
        for found in tissue_files(path) if path.is_dir() else [path]:
            if found.suffix.lower() in TILE_SUFFIXES:
                tiles.append(found)
                continue
            try:
                self._sources.append(SlideSource(found, self.settings))
                say(f"tissue of {found.name}")
            except NotASlideError as error:
                if found.suffix.lower() in TIFF_SUFFIXES and is_image(found):
                    tiles.append(found)
                else:
                    self.skipped.append(str(error))
            except SlideError as error:
                # OpenSlide reports a TIFF without tiles as damaged; Pillow reads it as a picture.
                if found.suffix.lower() in TIFF_SUFFIXES and is_untiled(found):
                    tiles.append(found)
                else:
                    self.skipped.append(str(error))
        if tiles:
            source = TileSource(path.name, tiles, self.settings)
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


def _hold_out_slides(sources: Sequence[Source], share: float) -> None:
    slides = [source for source in sources if isinstance(source, SlideSource)]
    slides.sort(key=lambda source: name_hash(source.name))
    for slide in slides[: round(share * len(slides))]:
        slide.hold_out()
