"""DICOM files that say of a frame that it begins beyond their end: OpenSlide would crash."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fuzz.small_slides import small_slides

from slidekin import UnreadableSlideError
from slidekin.slides import open_slide

_DATA = next(slide.data for slide in small_slides() if slide.data[128:132] == b"DICM")
_TABLE = _DATA.index(b"\xe0\x7f\x10\x00") + 20
"""Where the offsets begin: after the tag of the pixels and the head of the first item."""


def slide_with(folder: Path, place: int, value: int) -> Path:
    """The slide with another number at that place."""
    file = folder / "slide.dcm"
    data = bytearray(_DATA)
    data[place : place + 4] = value.to_bytes(4, "little")
    file.write_bytes(data)
    return file


def test_a_whole_file_is_read(tmp_path: Path):
    file = tmp_path / "slide.dcm"
    file.write_bytes(_DATA)
    with open_slide(file) as slide:
        assert slide.thumbnail(32).size == (32, 32)


@pytest.mark.parametrize("frame", [0, 4, 8])
@pytest.mark.parametrize("offset", [len(_DATA) - _TABLE, 2**31, 0xFFFFFB00, 2**32 - 1])
def test_a_frame_beyond_the_end_is_refused(tmp_path: Path, frame: int, offset: int):
    file = slide_with(tmp_path, _TABLE + 4 * frame, offset)
    with pytest.raises(UnreadableSlideError, match="a frame begins beyond its end"):
        open_slide(file)


def test_a_table_longer_than_the_file_is_refused(tmp_path: Path):
    with pytest.raises(UnreadableSlideError, match="a frame begins beyond its end"):
        open_slide(slide_with(tmp_path, _TABLE - 4, 2**30))
