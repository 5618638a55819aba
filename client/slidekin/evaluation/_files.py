"""The pixels of stored patches, read again from the slides on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from slidekin._exceptions import SlidekinError
from slidekin._types import Slide
from slidekin.evaluation._errors import EvaluationError
from slidekin.evaluation._histogram import PatchHistograms
from slidekin.slides import Slide as OpenSlide
from slidekin.slides import open_slide
from slidekin.slides._parallel import ordered_map

Corners = Mapping[str, Sequence[tuple[int, int]]]
"""By slide name: top-left corners of its stored patches, in level-0 pixels."""


class MissingPixelsError(EvaluationError):
    """Some slide's pixels cannot be had, so that no baseline covers all of them."""


class SlideFiles:
    """The slides of a collection as files.

    Args:
        paths: By slide id.
        slides: The slides as the collection knows them, by name.
        corners: Where their patches lie.
    """

    def __init__(
        self, paths: Mapping[str, Path], slides: Mapping[str, Slide], corners: Corners
    ) -> None:
        self._paths = paths
        self._slides = slides
        self._corners = corners

    def open(self, name: str) -> OpenSlide:
        """The slide, open, at the resolution it was stored with.

        Raises:
            MissingPixelsError: There is no file of its id, or one of another size.
            SlideError: The file cannot be used.
        """
        stored = self._slides[name]
        path = self._paths.get(stored.slide_id)
        if path is None:
            raise MissingPixelsError(f"there is no file of slide {stored.slide_id}")
        opened = open_slide(path, mpp=stored.mpp or None, slide_id=stored.slide_id)
        size = (stored.width_px, stored.height_px)
        if all(size) and opened.dimensions != size:
            opened.close()
            raise MissingPixelsError(
                f"{path} measures {opened.dimensions[0]} x {opened.dimensions[1]} px, and the "
                f"collection's slide {stored.slide_id} {size[0]} x {size[1]}: another slide"
            )
        return opened

    def histograms(
        self, names: Sequence[str], *, workers: int, progress: Callable[[int, int], None]
    ) -> list[PatchHistograms]:
        """The colour histograms of several slides' patches, in their order.

        Raises:
            MissingPixelsError: Some slides' pixels cannot be had: says how many, and why.
        """

        def read(name: str) -> PatchHistograms | SlidekinError:
            try:
                with self.open(name) as opened:
                    corners = self._corners[name]
                    if not corners:
                        return MissingPixelsError(f"slide {opened.slide_id} has no patches")
                    # One patch (3 MiB) at a time: a slide may have hundreds.
                    return PatchHistograms.of(
                        corners, (opened.read_patch(x, y) for x, y in corners)
                    )
            except SlidekinError as error:
                return error
            except OSError as error:
                return MissingPixelsError(str(error))

        found: list[PatchHistograms] = []
        missing: list[str] = []
        for done, result in enumerate(ordered_map(read, names, workers=workers), start=1):
            if isinstance(result, PatchHistograms):
                found.append(result)
            else:
                missing.append(str(result))
            progress(done, len(names))
        if missing:
            raise MissingPixelsError(
                f"{len(missing)} of {len(names)} slides have no pixels here; the first: "
                f"{missing[0]}"
            )
        return found
