"""What is packed: arrays of the store, pickles and HDF5 files of the published program, codes."""

from __future__ import annotations

import contextlib
import functools
import io
import pickle
import struct
from typing import Any

import h5py
import numpy as np
from tests.fuzz.readers import Reader, scratch_folder

from slidekin_server.codes import MAX_KEY, keys_from_codes, textures_from_features
from slidekin_server.released.errors import ReleaseError
from slidekin_server.released.latent import SlideFiles, read_slide
from slidekin_server.released.meta import FieldNames, read_meta
from slidekin_server.released.plain_pickle import read_dict, read_list
from slidekin_server.storage.packing import PackedCodes, codes_checksum, pack, unpack

_FOLDER = scratch_folder("packed")
_ORDER = np.arange(128, dtype=np.uint8)
_BITS = "01" * 512


def arrays(data: bytes) -> None:
    """The first bytes say how many patches there should be, and where one array ends."""
    if len(data) < 8:
        return
    count, width, keys_end, textures_end = struct.unpack_from("<4H", data)
    rest = data[8:]
    packed = PackedCodes(rest[:keys_end], rest[keys_end:textures_end], rest[textures_end:])
    codes_checksum(count, packed)
    try:
        codes = unpack(packed, patch_count=count, texture_bits=width)
    except ValueError:
        return
    assert len(codes) == count
    assert pack(codes) == packed


class _NothingButValues(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name}")


def plain_pickle(data: bytes) -> None:
    """What is read without the pickle machine is what the machine would have made of it."""
    for read, kind in ((read_list, list), (read_dict, dict)):
        try:
            found = list(read(io.BytesIO(data), "the file"))
        except ReleaseError as error:
            assert str(error).startswith("the file is refused")
            continue
        # Compared as text: NaN is not equal to itself.
        try:
            machine = _NothingButValues(io.BytesIO(data)).load()
        except (pickle.UnpicklingError, OverflowError):
            return  # it minds the lengths of frames, which say how far to read ahead
        assert isinstance(machine, kind)
        made = found if kind is list else dict(found)
        if kind is list or len(made) == len(found):
            assert repr(made) == repr(machine)


def meta(data: bytes) -> None:
    """The published index's own file."""
    names = FieldNames(slide="slide", label="label")
    try:
        found = read_meta(io.BytesIO(data), "meta.pkl", names, ())
    except ReleaseError:
        return
    assert len(found.patches) == len(found.slide_of) > 0
    assert sum(map(len, found.patches_by_slide().values())) == len(found.patches)
    assert 0 <= found.patches.keys.min() <= found.patches.keys.max() <= MAX_KEY


def latent(data: bytes) -> None:
    """A slide's HDF5 file, beside textures that fit it."""
    files = SlideFiles("s", _FOLDER / "s.h5", _FOLDER / "s.pkl")
    files.codes.write_bytes(data)
    with contextlib.suppress(ReleaseError):
        assert len(read_slide(files, _ORDER)) == 2


def codes(data: bytes) -> None:
    """What the networks may answer: codes of every type, features that are no numbers."""
    if len(data) < 2:
        return
    kind = np.dtype(("u1", "i2", "i8", "f4")[data[0] % 4])
    raw = data[2:]
    values = np.frombuffer(raw[: len(raw) - len(raw) % kind.itemsize], kind)
    side = 64 if len(values) >= 4096 or data[1] % 2 else 1 + data[1] % 65
    square = np.resize(values, (1, side, side)) if len(values) else np.empty((0, side, side), kind)
    with contextlib.suppress(ValueError):
        if kind.kind in "iu":
            keys = keys_from_codes(square, _ORDER)
            assert ((keys >= 0) & (keys <= MAX_KEY)).all()
    with contextlib.suppress(ValueError):
        features = np.resize(values, (1, 64 * (1 + data[1] % 20))).astype("f4")
        assert textures_from_features(features).shape == (1, features.shape[1] // 8)


def _array_seeds() -> list[bytes]:
    whole = struct.pack("<4H", 2, 64, 16, 32) + b"\1" * 16 + b"\2" * 16 + b"\3" * 16
    return [whole, struct.pack("<4H", 0, 64, 0, 0), struct.pack("<4H", 65535, 65535, 9, 9) + whole]


def _pickles(*values: object) -> list[bytes]:
    return [pickle.dumps(value, protocol) for value in values for protocol in (2, 4, 5)]


@functools.cache
def _latent_seeds() -> tuple[bytes, ...]:
    (_FOLDER / "s.pkl").write_bytes(pickle.dumps([_BITS, _BITS], 4))
    made = []
    for options in ({}, {"compression": "gzip"}, {"chunks": True, "shuffle": True}):
        file = io.BytesIO()
        with h5py.File(file, "w") as written:
            square = np.zeros((2, 64, 64), np.uint8)
            written.create_dataset("features", data=square, **options)
            written.create_dataset("coords", data=np.zeros((2, 2), np.int32))
        made.append(file.getvalue())
    return tuple(made)


_PATCH = {"slide": "s", "label": "l", "x": 1, "y": 2, "texture": _BITS}
READERS = {
    "packed-arrays": Reader(arrays, _array_seeds, ("slidekin_server.storage.packing",)),
    "pickle": Reader(
        plain_pickle,
        lambda: [
            *_pickles([], {}, ["a", 1, 2.5], {"a": [1, {"b": -1}]}, [["x"] * 3], [2**62, True]),
            pickle.dumps([b"", (1,)], 4),
            pickle.dumps(np.float32(1)),
            b"\x80\x04cos\nsystem\n(S'id'\ntR.",
        ],
        ("slidekin_server.released.plain_pickle", "pickletools"),
        share=3,
    ),
    "release-index": Reader(
        meta,
        lambda: _pickles({1: [_PATCH]}, {1: [_PATCH, _PATCH], 2: [{**_PATCH, "slide": "t"}]}),
        ("slidekin_server.released", "pickletools"),
    ),
    "release-slide": Reader(
        latent,
        lambda: list(_latent_seeds()),
        ("slidekin_server.released.latent",),
        most_bytes=24_576,
    ),
    "codes": Reader(
        codes,
        lambda: [bytes([kind, 1]) + bytes(range(128)) * 32 for kind in range(4)],
        ("slidekin_server.codes",),
        most_bytes=9000,
    ),
}
