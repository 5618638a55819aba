"""Slides among files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# What OpenSlide reads, by suffix; DICOM slides are folders. A file named outright is tried whatever
# its suffix says.
_SUFFIXES = frozenset(
    [".bif", ".czi", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".tif", ".tiff", ".vms", ".vmu"]
)


@dataclass(frozen=True, slots=True)
class FoundSlide:
    """A slide on disk."""

    slide_id: str
    """Its id: the file's name without suffix, a DICOM folder's name."""
    path: Path
    """The file, or the folder of a DICOM slide."""


def find_slides(paths: Sequence[Path]) -> list[FoundSlide]:
    """The slides that paths name: files as they are, folders with everything beneath them.

    A folder that holds ``.dcm`` files is one DICOM slide. Paths that do not exist come out too, so
    that reading them says so. In order of the paths, within a folder by name.
    """
    slides: dict[Path, None] = {}
    for path in paths:
        for slide in _walk(path) if path.is_dir() else [path]:
            slides.setdefault(slide)
    return [FoundSlide(_slide_id(path), path) for path in slides]


def _walk(folder: Path) -> Iterator[Path]:
    for where, folders, files in os.walk(folder):
        folders.sort()
        here = Path(where)
        if any(name.lower().endswith(".dcm") for name in files):
            yield here
        for name in sorted(files):
            if Path(name).suffix.lower() in _SUFFIXES and not name.startswith("."):
                yield here / name


def _slide_id(path: Path) -> str:
    # "." and ".." have no name of their own.
    named = path if path.name not in {"", ".", ".."} else path.resolve()
    return named.name if named.is_dir() else named.stem
