"""Arrays and facts as bytes on disk, and the checksums over them.

All numbers are little-endian on every machine, so that a store can be moved.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import NamedTuple

import numpy as np

from slidekin_server.storage.records import SlideFacts
from slidekin_server.values import PatchCodes

_CHECKSUM_BYTES = 16


class PackedCodes(NamedTuple):
    """`PatchCodes` as the store holds them."""

    keys: bytes
    """n int64."""
    textures: bytes
    """n x texture_bits / 8 bytes."""
    xy: bytes
    """n x 2 int32."""


def pack(codes: PatchCodes) -> PackedCodes:
    """Turn arrays into bytes.

    Raises:
        ValueError: The three arrays do not fit together.
    """
    count = len(codes.keys)
    if codes.keys.ndim != 1 or codes.textures.shape[:1] != (count,) or codes.xy.shape != (count, 2):
        raise ValueError(
            f"keys {codes.keys.shape}, textures {codes.textures.shape} and xy {codes.xy.shape} "
            "must describe the same patches"
        )
    return PackedCodes(
        codes.keys.astype("<i8").tobytes(),
        codes.textures.astype(np.uint8).tobytes(),
        codes.xy.astype("<i4").tobytes(),
    )


def unpack(packed: PackedCodes, *, patch_count: int, texture_bits: int) -> PatchCodes:
    """Turn bytes into read-only arrays.

    Raises:
        ValueError: The bytes do not hold that many patches.
    """
    return PatchCodes(
        keys=np.frombuffer(packed.keys, "<i8").reshape(patch_count),
        textures=np.frombuffer(packed.textures, np.uint8).reshape(patch_count, texture_bits // 8),
        xy=np.frombuffer(packed.xy, "<i4").reshape(patch_count, 2),
    )


def codes_checksum(number: int, packed: PackedCodes) -> bytes:
    """Checksum over a slide's arrays and the number they belong to."""
    digest = hashlib.blake2b(
        struct.pack("<4q", number, *(len(part) for part in packed)), digest_size=_CHECKSUM_BYTES
    )
    for part in packed:
        digest.update(part)
    return digest.digest()


def facts_checksum(row: tuple[object, ...]) -> bytes:
    """Checksum over a slide's facts, given as the values of its row."""
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=_CHECKSUM_BYTES).digest()


def content_digest(facts: SlideFacts, codes: PatchCodes) -> str:
    """SHA-256 (hex) of a slide's patches and of the facts that identify it.

    Two slides with equal digests are the same slide to every search. The label, the attributes and
    the source's digest are left out: changing them does not make it another slide.
    """
    packed = pack(codes)
    stated = json.dumps(
        [
            "slidekin content 1",
            facts.patient_id,
            facts.width_px,
            facts.height_px,
            facts.mpp,
            facts.patch_size_px,
            [len(part) for part in packed],
        ]
    )
    digest = hashlib.sha256(stated.encode())
    for part in packed:
        digest.update(part)
    return digest.hexdigest()
