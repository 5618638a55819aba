"""One whole-slide image, read by physical size."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import openslide
from PIL import Image

from slidekin._exceptions import NotASlideError, UnreadableSlideError
from slidekin.slides._files import begins_as_slide, digest_files, find_files, is_dicom
from slidekin.slides._frames import has_misplaced_frames
from slidekin.slides._geometry import Level
from slidekin.slides._parallel import ordered_map
from slidekin.slides._resolution import TARGET_MPP, MppSource, find_mpp

PATCH_UM = 512.0
"""Side of a patch on the glass."""

PATCH_PX = 1024
"""Side of a patch as the networks see it: 512 um at 20x."""

_LEVEL_SLACK = 1.05
"""A level up to 5 % coarser than wanted serves: scanners' 20x lies between 0.46 and 0.52 um."""

_BLOCK_PX = 2048
"""Overviews are read in squares of this side, so that a slide of one level costs little memory."""


class Slide:
    """A slide that is open for reading. Made by `open_slide`; reads are safe from many threads.

    Attributes:
        path: The slide as the caller named it.
        slide_id: What it is called in a collection.
        vendor: OpenSlide's name of the format (``aperio``, ``dicom``, ``generic-tiff``...).
        dimensions: Width and height of level 0 in pixels.
        levels: The pyramid, finest first.
        mpp: Micrometres per level-0 pixel.
        mpp_source: Where ``mpp`` comes from.
    """

    def __init__(
        self,
        handle: openslide.OpenSlide,
        *,
        path: Path,
        files: tuple[Path, ...],
        slide_id: str,
        mpp: float,
        mpp_source: MppSource,
    ) -> None:
        self._handle = handle
        self._files = files
        self.path = path
        self.slide_id = slide_id
        self.vendor = str(handle.properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown"))
        self.dimensions: tuple[int, int] = handle.dimensions
        self.levels = tuple(
            Level(width, height, downsample)
            for (width, height), downsample in zip(
                handle.level_dimensions, handle.level_downsamples, strict=True
            )
        )
        self.mpp = mpp
        self.mpp_source = mpp_source
        colour = handle.properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "FFFFFF")
        self._background = f"#{colour}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        width, height = self.dimensions
        return f"<Slide {self.slide_id!r} {width}x{height} at {self.mpp:.4g} um>"

    def close(self) -> None:
        """Let go of the file. Nothing can be read afterwards."""
        self._handle.close()

    @property
    def patch_size_px(self) -> int:
        """Side of a patch (512 um) in level-0 pixels."""
        return round(PATCH_UM / self.mpp)

    @cached_property
    def source_digest(self) -> str:
        """SHA-256 (hex) of the content, whatever the files are called; read once, streamed."""
        try:
            return digest_files(self._files)
        except OSError as error:
            raise UnreadableSlideError(_damaged(error), path=self.path) from error

    def level_for(self, mpp: float) -> int:
        """The coarsest level that still shows ``mpp`` micrometres per pixel (5 % slack)."""
        fits = [
            number
            for number, level in enumerate(self.levels)
            if level.downsample * self.mpp <= mpp * _LEVEL_SLACK
        ]
        return max(fits, default=0)

    def level_near(self, mpp: float) -> int:
        """The level nearest ``mpp``, on a scale of ratios, but not coarser than twice that."""
        fits = [
            (abs(math.log(level.downsample * self.mpp / mpp)), number)
            for number, level in enumerate(self.levels)
            if number == 0 or level.downsample * self.mpp <= 2 * mpp
        ]
        return min(fits)[1]

    def read_patch(self, x: int, y: int, *, level_0: bool = False) -> Image.Image:
        """The patch whose top-left corner is level-0 pixel (x, y): RGB, 1024 x 1024.

        It covers 512 x 512 micrometres; what lies beyond the slide is background.

        Args:
            x: Column of the corner.
            y: Row of the corner.
            level_0: Read level 0 and shrink, as profile ``sish-2022`` does, even where another
                level has the pixels ready.

        Raises:
            UnreadableSlideError: The pixels cannot be read: the file is damaged or cut short.
        """
        level = 0 if level_0 else self.level_for(TARGET_MPP)
        return self.read_square(x, y, self.patch_size_px, PATCH_PX, level)

    def read_square(self, x: int, y: int, side_px: int, out_px: int, level: int) -> Image.Image:
        """A square of ``side_px`` level-0 pixels as RGB of ``out_px``, read from ``level``.

        Raises:
            UnreadableSlideError: The pixels cannot be read.
        """
        size = max(1, round(side_px / self.levels[level].downsample))
        image = self._read(x, y, level, size, size)
        if size != out_px:
            image = image.resize((out_px, out_px), Image.Resampling.BICUBIC)
        return image

    def overview(self, downsample: float, *, workers: int | None = None) -> Image.Image:
        """All of the slide, ``downsample`` times smaller (rounded to whole pixels): RGB.

        Read block by block from the nearest finer level, so memory stays bounded even where that
        is level 0.

        Raises:
            UnreadableSlideError: The pixels cannot be read.
        """
        width = max(1, round(self.dimensions[0] / downsample))
        height = max(1, round(self.dimensions[1] / downsample))
        number = self._handle.get_best_level_for_downsample(downsample * 1.01)
        level = self.levels[number]
        across, down = level.width_px / width, level.height_px / height
        step_x, step_y = max(1, int(_BLOCK_PX / across)), max(1, int(_BLOCK_PX / down))
        blocks = [
            (left, top, min(left + step_x, width), min(top + step_y, height))
            for top in range(0, height, step_y)
            for left in range(0, width, step_x)
        ]

        def read(block: tuple[int, int, int, int]) -> Image.Image:
            left, top, right, bottom = block
            box = (left * across, top * down, right * across, bottom * down)
            x, y = math.floor(box[0]), math.floor(box[1])
            far_x = min(math.ceil(box[2]), level.width_px)
            far_y = min(math.ceil(box[3]), level.height_px)
            image = self._read(
                round(x * level.downsample),
                round(y * level.downsample),
                number,
                far_x - x,
                far_y - y,
            )
            shifted = (
                box[0] - x,
                box[1] - y,
                min(box[2] - x, image.width),
                min(box[3] - y, image.height),
            )
            return image.resize((right - left, bottom - top), Image.Resampling.BOX, box=shifted)

        whole = Image.new("RGB", (width, height))
        for block, image in zip(blocks, ordered_map(read, blocks, workers=workers), strict=True):
            whole.paste(image, block[:2])
        return whole

    def thumbnail(self, max_side_px: int = 1024) -> Image.Image:
        """All of the slide with its longer side at most ``max_side_px``: RGB.

        Raises:
            UnreadableSlideError: The pixels cannot be read.
        """
        return self.overview(max(1.0, max(self.dimensions) / max_side_px))

    def _read(self, x: int, y: int, level: int, width: int, height: int) -> Image.Image:
        try:
            image = self._handle.read_region((x, y), level, (width, height))
        except openslide.OpenSlideError as error:
            raise UnreadableSlideError(_damaged(error), path=self.path) from error
        if image.getchannel("A").getextrema()[0] == 255:  # no pixel is transparent: the usual case
            return image.convert("RGB")
        opaque = Image.new("RGB", image.size, self._background)
        opaque.paste(image, mask=image.getchannel("A"))
        return opaque


def open_slide(path: str | Path, *, mpp: float | None = None, slide_id: str | None = None) -> Slide:
    """Open a slide of any format that OpenSlide reads.

    Args:
        path: A file; for DICOM also the folder of one slide.
        mpp: Micrometres per level-0 pixel, where the slide does not say or is wrong.
        slide_id: Default: the name of the file without its ending, or of the DICOM folder.

    Raises:
        SlideNotFoundError: Nothing there.
        NotASlideError: No format that OpenSlide knows.
        UnreadableSlideError: A slide, but refused by OpenSlide, damaged or cut short.
        UnknownResolutionError: No believable resolution, or an absurd ``mpp``.
        TooCoarseError: Coarser than 0.75 um per pixel.
    """
    path = Path(path)
    try:
        files = find_files(path)
        misplaced = any(has_misplaced_frames(file) for file in files if is_dicom(file))
    except OSError as error:
        raise UnreadableSlideError(
            f"it cannot be opened ({error.strerror}): check its permissions", path=path
        ) from error
    if misplaced:  # before OpenSlide, which would end the process
        raise UnreadableSlideError(_damaged("a frame begins beyond its end"), path=path)
    handle = _open(path, files[0])
    try:
        resolution, source = find_mpp(handle.properties, mpp, path)
        name = path.resolve().name if path.is_dir() else path.stem
        return Slide(
            handle,
            path=path,
            files=files,
            slide_id=slide_id or name,
            mpp=resolution,
            mpp_source=source,
        )
    except BaseException:
        handle.close()
        raise


def _open(path: Path, file: Path) -> openslide.OpenSlide:
    try:
        return openslide.OpenSlide(file)
    except openslide.OpenSlideUnsupportedFormatError as error:
        if begins_as_slide(file):
            raise UnreadableSlideError(
                "it begins like a slide but OpenSlide cannot read it: it may be cut short (compare "
                "its size with the original and copy it again), or not tiled (convert it to a "
                "tiled pyramidal TIFF)",
                path=path,
            ) from error
        raise NotASlideError(
            "not a slide of any format OpenSlide reads: name a whole-slide image", path=path
        ) from error
    except openslide.OpenSlideError as error:
        raise UnreadableSlideError(
            f"OpenSlide refuses it ({error}): copy it again if it was cut short, else export it in "
            "another format or encoding",
            path=path,
        ) from error


def _damaged(error: Exception | str) -> str:
    return (
        f"its pixels cannot be read ({error}): the file is damaged or cut short; compare its "
        "size with the original and copy it again"
    )
