"""Single values of the released files, checked."""

from __future__ import annotations

from typing import Final

import numpy as np

from slidekin_server.released.plain_pickle import Plain

TEXTURE_BITS: Final = 1024
"""DenseNet-121 has as many features."""
MAX_PX: Final = 2**31 - 1
"""Greatest coordinate that a patch can have."""


def packed_texture(value: Plain) -> bytes | None:
    """Return a texture's 128 bytes, bit 0 the most significant bit of byte 0.

    Args:
        value: 1024 characters ``0`` and ``1``, or a list of 1024 numbers 0 and 1.

    Returns:
        None where it is neither.
    """
    if len(value) != TEXTURE_BITS if isinstance(value, str | list) else True:
        return None
    if isinstance(value, str):
        if value.strip("01"):
            return None
        return int(value, 2).to_bytes(TEXTURE_BITS // 8, "big")
    if not isinstance(value, list) or any(
        isinstance(bit, str | list | dict) or bit not in (0, 1) for bit in value
    ):
        return None
    return np.packbits(np.array(value, dtype=np.uint8)).tobytes()


def whole_number(value: Plain, most: int) -> int | None:
    """Return a number that is whole and lies in 0..most; None where it is not."""
    if isinstance(value, str | list | dict) or not 0 <= value <= most or value != int(value):
        return None
    return int(value)
