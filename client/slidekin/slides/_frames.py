"""Where the frames of a DICOM file begin, by its own account.

OpenSlide's DICOM library believes these offsets: one beyond the end of the file ends the process.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.tag import Tag

_EXTENDED_OFFSETS = Tag("ExtendedOffsetTable")
_PIXELS = (b"\xe0\x7f\x10\x00OB", b"\xe0\x7f\x10\x00OW")
"""Tag of the pixels, and what kinds of values they may be."""
_IN_ITEMS = b"\xff\xff\xff\xff"
"""Length of pixels that come in items: the table of offsets, then the frames."""
_ITEM = b"\xfe\xff\x00\xe0"
_ITEM_HEAD_BYTES = 8
_MOST_TABLE_BYTES = 2**26
"""Of sixteen million frames; no slide has as many."""


def has_misplaced_frames(file: Path) -> bool:
    """Whether a DICOM file says of a frame that it begins beyond the end of the file.

    False also for what is no such table, or no DICOM file: that is for OpenSlide to say.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        try:
            header = pydicom.dcmread(
                stream, stop_before_pixels=True, specific_tags=[_EXTENDED_OFFSETS]
            )
        except Exception:  # noqa: BLE001 - on a damaged header pydicom raises whatever came its way
            return False
        # Left where the pixels begin: tag, kind, two bytes without a meaning, length.
        pixels = stream.read(12)
        if pixels[:6] not in _PIXELS or pixels[8:] != _IN_ITEMS:
            return False
        item = stream.read(_ITEM_HEAD_BYTES)
        if item[:4] != _ITEM:
            return False
        table_bytes = int.from_bytes(item[4:], "little")
        if table_bytes > min(_MOST_TABLE_BYTES, size):
            return True
        table = stream.read(table_bytes)
        room = size - stream.tell() - _ITEM_HEAD_BYTES
    extended = header.get_item(_EXTENDED_OFFSETS).value if _EXTENDED_OFFSETS in header else b""
    if not isinstance(extended, bytes):  # of another kind than the standard's: damaged
        extended = b""
    return any(
        bool((np.frombuffer(held[: len(held) // width * width], f"<u{width}") > room).any())
        for held, width in ((table, 4), (extended, 8))
    )
