"""Finds the files of a folder that hold tissue."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

TILE_SUFFIXES = frozenset([".bmp", ".jpeg", ".jpg", ".png"])
TIFF_SUFFIXES = frozenset([".tif", ".tiff"])
_SLIDE_SUFFIXES = frozenset(
    [".bif", ".czi", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".vms", ".vmu"]
)


def tissue_files(folder: Path) -> Iterator[Path]:
    """Yield slides and pictures in a folder; a folder with ``.dcm`` files is a DICOM slide."""
    known = TILE_SUFFIXES | TIFF_SUFFIXES | _SLIDE_SUFFIXES
    for where, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        here = Path(where)
        if any(name.lower().endswith(".dcm") for name in files):
            yield here
        for name in sorted(files):
            if Path(name).suffix.lower() in known and not name.startswith("."):
                yield here / name


def is_image(path: Path) -> bool:
    """Whether Pillow can open a file."""
    try:
        with Image.open(path):
            return True
    except OSError:
        return False


def is_untiled(path: Path) -> bool:
    """Whether a TIFF is stored in strips, as no slide that OpenSlide reads is."""
    tile_width_tag = 322
    try:
        with Image.open(path) as image:
            return tile_width_tag not in getattr(image, "tag_v2", {})
    except OSError:
        return False
