"""Which files make up a slide, and the digest of their content."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

import pydicom
from pydicom.tag import Tag

from slidekin._exceptions import NotASlideError, SlideNotFoundError

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DICOM_MAGIC = b"DICM"
_DICOM_PREAMBLE = 128
_SERIES_UID = Tag("SeriesInstanceUID")


def find_files(path: Path) -> tuple[Path, ...]:
    """The files of a slide, the one for OpenSlide to open first.

    A folder, or a file of one, stands for the DICOM series in it; an MIRAX file for itself and the
    folder of its name; any other file for itself.

    Raises:
        SlideNotFoundError: There is nothing at ``path``.
        NotASlideError: A folder without a DICOM series, or with several.
    """
    if path.is_dir():
        return _series_of_folder(path)
    if not path.is_file():
        raise SlideNotFoundError("there is no such file or folder: check the path", path=path)
    if is_dicom(path):
        series = _series_uid(path)
        others = [p for p in _dicom_files(path.parent) if p != path and _series_uid(p) == series]
        return (path, *others) if series else (path,)
    if path.suffix.lower() == ".mrxs":
        parts = path.with_suffix("")
        return (path, *sorted(p for p in parts.glob("*") if p.is_file()))
    return (path,)


def begins_as_slide(path: Path) -> bool:
    """Whether the first bytes are those of a TIFF or DICOM file, whatever follows."""
    return _begins(path, 0, 4) in _TIFF_MAGIC or is_dicom(path)


def is_dicom(path: Path) -> bool:
    """Whether the first bytes are those of a DICOM file."""
    return _begins(path, _DICOM_PREAMBLE, len(_DICOM_MAGIC)) == _DICOM_MAGIC


def digest_files(files: tuple[Path, ...]) -> str:
    """SHA-256 (hex) of a slide's content, whatever the files are called.

    One file: of its bytes. Several: of their sorted digests.
    """
    digests = sorted(_digest(file) for file in files)
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _series_of_folder(folder: Path) -> tuple[Path, ...]:
    series: dict[str, list[Path]] = defaultdict(list)
    for file in _dicom_files(folder):
        if uid := _series_uid(file):
            series[uid].append(file)
    if not series:
        raise NotASlideError(
            "the folder holds no DICOM slide: name a slide file, or the folder of one DICOM slide",
            path=folder,
        )
    if len(series) > 1:
        raise NotASlideError(
            f"the folder holds {len(series)} DICOM slides: name one .dcm file of the slide meant",
            path=folder,
        )
    return tuple(next(iter(series.values())))


def _dicom_files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.iterdir()) if file.is_file() and is_dicom(file)]


def _series_uid(file: Path) -> str | None:
    """The series a DICOM file belongs to; None for a DICOMDIR or a header that cannot be read."""
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=[_SERIES_UID])
    except Exception:  # noqa: BLE001 - on a damaged header pydicom raises whatever came its way;
        return None  # whether the slide can be read is for OpenSlide to say
    if _SERIES_UID not in header:
        return None
    # As it stands in the file: pydicom's own value would come with a warning where it is damaged.
    uid = header.get_item(_SERIES_UID).value
    return uid.decode("ascii", "replace").strip("\0 ") if isinstance(uid, bytes) else str(uid)


def _begins(file: Path, offset: int, size: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(offset)
        return stream.read(size)
