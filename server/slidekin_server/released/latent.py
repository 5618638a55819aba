"""The folder LATENT: what the networks said of each slide's patches.

``LATENT/*/vqvae/SLIDE.h5`` holds the VQ-VAE's codes and the patches' places, and
``LATENT/*/densenet/SLIDE.pkl`` the textures in the same order. Names inside the HDF5 files are not
relied upon: what a dataset is, its type and shape say, and a file where they do not say it clearly
is refused.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from slidekin_server.codes import CODEBOOK_SIZE, CODES_SIDE, keys_from_codes
from slidekin_server.released.errors import ReleaseError, SlideRefusedError
from slidekin_server.released.plain_pickle import RefusedPickleError, read_list
from slidekin_server.released.values import MAX_PX, TEXTURE_BITS, packed_texture
from slidekin_server.values import PatchCodes

MAX_PATCHES: Final = 10_000
"""Of one slide: as many as the service takes by default. A mosaic has 30 to 150."""

_MAX_DATASETS = 64
_MAX_CHUNK_BYTES = 64 * 2**20
_ROWS_AT_ONCE = 256
_HASHED_AT_ONCE = 2**20
# Deflate, shuffle, Fletcher32, szip, lzf: they come with the library. Others would have it load
# code from wherever the environment says.
_FILTERS = frozenset({1, 2, 3, 4, 32000})


@dataclass(frozen=True, slots=True)
class SlideFiles:
    """The two files of one slide, inside the tree and without symbolic links that lead out."""

    slide: str
    codes: Path
    """``.h5``"""
    textures: Path
    """``.pkl``"""


def find_slides(root: Path) -> dict[str, SlideFiles]:
    """Return the files of every slide under ``LATENT``, by the slide's name.

    Raises:
        ReleaseError: There are none, two groups hold a slide of one name, or a link leads out.
    """
    if not root.is_dir():
        raise ReleaseError(f"{root} is no folder: name the folder LATENT of the release")
    inside = root.resolve()
    found: dict[str, SlideFiles] = {}
    for codes in sorted(root.glob("*/vqvae/*.h5")):
        slide = codes.stem
        files = SlideFiles(
            slide,
            _inside(codes, inside),
            _inside(codes.parent.parent / "densenet" / f"{slide}.pkl", inside),
        )
        if slide in found:
            raise ReleaseError(
                f"{codes} and {found[slide].codes} are of one name: a collection holds a slide's "
                "name once. Import each group of LATENT by itself"
            )
        found[slide] = files
    if not found:
        raise ReleaseError(f"{root} holds no */vqvae/*.h5: name the folder LATENT of the release")
    return found


def read_slide(files: SlideFiles, semantic_order: NDArray[np.uint8]) -> PatchCodes:
    """Return a slide's patches in the order of its files.

    Args:
        files: The slide's files.
        semantic_order: Shape (128,): old code -> its place in the semantic order.

    Raises:
        SlideRefusedError: A file is missing, damaged, or holds something else.
    """
    keys, xy = _read_codes(files.codes, semantic_order)
    textures = _read_textures(files.textures, len(keys))
    return PatchCodes(keys, textures, xy)


def digest_files(files: SlideFiles) -> bytes:
    """Return the SHA-256 of both files.

    Raises:
        SlideRefusedError: One of them cannot be read.
    """
    digest = hashlib.sha256()
    for path in (files.codes, files.textures):
        with opened(path) as file:
            digest.update(os.fstat(file.fileno()).st_size.to_bytes(8, "big"))
            while block := file.read(_HASHED_AT_ONCE):
                digest.update(block)
    return digest.digest()


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file, and nothing that only looks like one.

    Raises:
        SlideRefusedError: It is missing, cannot be read, or is a link, a pipe or a device.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SlideRefusedError(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SlideRefusedError(f"{path} is no regular file")
        yield file


def _inside(path: Path, root: Path) -> Path:
    real = path.resolve()
    if not real.is_relative_to(root):
        raise ReleaseError(
            f"{path} is a link that leads out of {root}: put the files themselves there, or name "
            "the folder that holds them"
        )
    return real


def _read_codes(
    path: Path, semantic_order: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    with opened(path) as opened_file:
        try:
            with h5py.File(opened_file, "r") as file:
                return _codes_of(file, path, semantic_order)
        except SlideRefusedError:
            raise
        # The library says of damage with whatever its layers raise.
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError) as error:
            reason = " ".join(str(error).split())
            raise SlideRefusedError(f"{path} is damaged: {reason}") from None


def _codes_of(
    file: h5py.File, path: Path, semantic_order: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    datasets = _datasets(file, path)
    codes = _only(datasets, (CODES_SIDE, CODES_SIDE), "codes", path)
    places = _only(datasets, (2,), "coordinates", path)
    count = codes.shape[0]
    if not 0 < count <= MAX_PATCHES:
        raise SlideRefusedError(f"{path} holds {count} patches; 1 to {MAX_PATCHES} are read")
    if places.shape[0] != count:
        raise SlideRefusedError(
            f"{path} holds codes of {count} patches and coordinates of {places.shape[0]}"
        )
    keys = np.empty(count, dtype=np.int64)
    for start in range(0, count, _ROWS_AT_ONCE):
        rows = codes[start : start + _ROWS_AT_ONCE]
        if rows.min() < 0 or rows.max() >= CODEBOOK_SIZE:
            raise SlideRefusedError(
                f"{path} holds codes {rows.min()}..{rows.max()}; they must lie in "
                f"0..{CODEBOOK_SIZE - 1}"
            )
        keys[start : start + len(rows)] = keys_from_codes(rows, semantic_order)
    xy = places[:]
    if xy.min() < 0 or xy.max() > MAX_PX:
        raise SlideRefusedError(f"{path} holds coordinates {xy.min()}..{xy.max()}: below 0 or huge")
    return keys, np.ascontiguousarray(xy, dtype=np.int32)


def _datasets(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """Return the datasets at the file's root, none of which takes its values from elsewhere."""
    if len(file) > _MAX_DATASETS:
        raise SlideRefusedError(f"{path} holds {len(file)} entries; {_MAX_DATASETS} are the most")
    datasets = {}
    for name in file:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise SlideRefusedError(
                f"{path} holds a link ({name!r}) to another place or file, which is not followed"
            )
        if file.get(name, getclass=True) is h5py.Dataset:
            datasets[str(name)] = file[name]
    return datasets


def _only(
    datasets: dict[str, h5py.Dataset], shape: tuple[int, ...], what: str, path: Path
) -> h5py.Dataset:
    """Return the one dataset of whole numbers with a row of such a shape for each patch."""
    fitting = [
        (name, dataset)
        for name, dataset in datasets.items()
        if dataset.shape is not None
        and dataset.shape[1:] == shape
        and len(dataset.shape) == 1 + len(shape)
        and dataset.dtype.kind in "iu"
    ]
    if len(fitting) != 1:
        held = ", ".join(
            f"{name} {dataset.dtype} {dataset.shape}" for name, dataset in datasets.items()
        )
        wanted = ", ".join(map(str, ("n", *shape)))
        raise SlideRefusedError(
            f"{path} must hold one dataset of whole numbers of shape ({wanted}), the {what}; "
            f"it holds {len(fitting)} of that kind among: {held or 'nothing'}"
        )
    name, dataset = fitting[0]
    _check_storage(name, dataset, path)
    return dataset


def _check_storage(name: str, dataset: h5py.Dataset, path: Path) -> None:
    if dataset.external or dataset.is_virtual:
        raise SlideRefusedError(f"{path}: {name!r} takes its values from other files")
    layout: Any = dataset.id.get_create_plist()
    filters = {layout.get_filter(place)[0] for place in range(layout.get_nfilters())}
    if not filters <= _FILTERS:
        raise SlideRefusedError(
            f"{path}: {name!r} is compressed in a way that is not read (HDF5 filters "
            f"{sorted(filters - _FILTERS)}); write it with gzip or without compression"
        )
    if dataset.chunks and prod(dataset.chunks) * dataset.dtype.itemsize > _MAX_CHUNK_BYTES:
        raise SlideRefusedError(f"{path}: {name!r} has chunks above {_MAX_CHUNK_BYTES} bytes")


def _read_textures(path: Path, count: int) -> NDArray[np.uint8]:
    """Return the textures of ``count`` patches, packed: shape (count, 128)."""
    packed = bytearray()
    read = 0
    with opened(path) as file:
        try:
            for value in islice(read_list(file, str(path)), count + 1):
                texture = packed_texture(value)
                if texture is None:
                    raise SlideRefusedError(
                        f"{path}: the texture of patch {read} is neither {TEXTURE_BITS} characters "
                        "0 and 1 nor a list of as many numbers 0 and 1"
                    )
                packed += texture
                read += 1
        except RefusedPickleError as error:
            raise SlideRefusedError(str(error)) from None
    if read != count:
        more = "more" if read > count else str(read)
        raise SlideRefusedError(f"{path} holds {more} textures, and its codes are of {count}")
    return np.frombuffer(bytes(packed), dtype=np.uint8).reshape(count, TEXTURE_BITS // 8)
