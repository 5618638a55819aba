"""Whole-slide images: reading from a damaged one, and what a slide says of itself."""

from __future__ import annotations

import math
from pathlib import Path

import pydicom
from tests.fuzz.readers import Reader, scratch_folder
from tests.fuzz.small_slides import small_slides

from slidekin import SlidekinError
from slidekin.slides import open_slide
from slidekin.slides._resolution import BELIEVABLE_MPP, MAX_MPP, find_mpp

_FOLDER = scratch_folder("slides")
_MOST_PIXELS = 50_000_000
"""A slide that claims more takes its time, as any large one does; it is opened, not read whole."""
_KEYS = (
    "openslide.mpp-x",
    "openslide.mpp-y",
    "openslide.objective-power",
    "tiff.ResolutionUnit",
    "tiff.XResolution",
    "tiff.YResolution",
)

pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def read_slide(data: bytes) -> None:
    """A file in a folder of its own: opened, looked at from afar, one patch read."""
    file = _FOLDER / "slide.dcm" if data[128:132] == b"DICM" else _FOLDER / "slide.svs"
    file.write_bytes(data)
    try:
        with open_slide(file, mpp=None) as slide:
            assert BELIEVABLE_MPP[0] <= slide.mpp <= MAX_MPP
            width, height = slide.dimensions
            assert width > 0
            assert height > 0
            assert len(slide.source_digest) == 64
            slide.read_square(0, 0, 64, 32, 0)
            if width * height <= _MOST_PIXELS:
                slide.thumbnail(32)
    except SlidekinError as error:
        assert str(file) in str(error)
    finally:
        file.unlink()


def read_resolution(data: bytes) -> None:
    """Lines, one for each property that a slide may state."""
    lines = data.decode("utf-8", "replace").split("\n")
    properties = {key: line for key, line in zip(_KEYS, lines, strict=False) if line}
    override = None
    if len(lines) > len(_KEYS):
        try:
            override = float(lines[len(_KEYS)])
        except ValueError:
            return
    try:
        mpp, source = find_mpp(properties, override, Path("slide.svs"))
    except SlidekinError:
        return
    assert math.isfinite(mpp)
    assert BELIEVABLE_MPP[0] <= mpp <= MAX_MPP
    assert source in {"override", "metadata", "objective", "tiff"}


READERS = {
    "slide": Reader(
        read_slide,
        lambda: [slide.data for slide in small_slides()],
        ("slidekin.slides", "openslide", "pydicom.filereader", "pydicom.fileutil"),
        share=2,
        most_bytes=16_384,
    ),
    "slide-resolution": Reader(
        read_resolution,
        lambda: [
            b"0.25\n0.25\n40\ninch\n0\n0",
            b"\n\n20\n\n\n",
            b"\n\n\ncentimeter\n20000\n20000",
            b"nan\ninf\n-1\ninch\n1e400\n1e-400",
            b"0.5\n0.5\n\n\n\n\n0.3",
            b"0\n0\n0\ninch\n0\n0\n1e999",
        ],
        ("slidekin.slides._resolution",),
        most_bytes=256,
    ),
}
