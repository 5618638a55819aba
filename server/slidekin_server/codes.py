"""From what the networks say of a patch to what the index keeps: its key and its texture.

The arithmetic is that of the SISH paper (Chen et al., Nature Biomedical Engineering 2022, doi
10.1038/s41551-022-00929-8). Everything is done in integers: pooling in floating point gives
other keys.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CODES_SIDE: Final = 64
"""A patch of 1024 x 1024 px has 64 x 64 VQ-VAE codes."""
CODEBOOK_SIZE: Final = 128
"""Number of codewords; a code is 0..127."""
FEATURES_MULTIPLE: Final = 64
"""Texture widths are whole 64-bit words, so that distances are counted a word at a time."""

_WEIGHTS: Final = (1, 10**6, 10**11)
"""What the sums over the 32 x 32, 16 x 16 and 8 x 8 arrays count for in a key."""

MAX_KEY: Final = sum(
    weight * (CODEBOOK_SIZE - 1) * (CODES_SIDE >> level) ** 2
    for level, weight in enumerate(_WEIGHTS, start=1)
)
"""The largest key that codes can give: below 2**50, hence exact in a double as well."""


def keys_from_codes(
    codes: NDArray[np.integer[Any]], semantic_order: NDArray[np.integer[Any]]
) -> NDArray[np.int64]:
    """Make the index keys of ``n`` patches.

    Args:
        codes: Shape (n, 64, 64), VQ-VAE codes 0..127.
        semantic_order: Shape (128,), a permutation: old code -> its place in the semantic order.

    Returns:
        Shape (n,): S1 + 10**6 * S2 + 10**11 * S3 with S1, S2, S3 the sums of the codes after one,
        two and three poolings 2 x 2, each of which divides by 4 and rounds down.

    Raises:
        ValueError: A shape is wrong, a code is out of range or the order is no permutation.
    """
    if codes.ndim != 3 or codes.shape[1:] != (CODES_SIDE, CODES_SIDE):
        msg = f"codes must have shape (n, {CODES_SIDE}, {CODES_SIDE}), not {codes.shape}"
        raise ValueError(msg)
    if not np.array_equal(np.sort(semantic_order), np.arange(CODEBOOK_SIZE)):
        msg = f"semantic_order must be a permutation of 0..{CODEBOOK_SIZE - 1}"
        raise ValueError(msg)
    if codes.size and (codes.min() < 0 or codes.max() >= CODEBOOK_SIZE):
        msg = f"codes must lie in 0..{CODEBOOK_SIZE - 1}, not {codes.min()}..{codes.max()}"
        raise ValueError(msg)
    # A sum of four codes is at most 508: int16 holds every level and halves the memory traffic.
    level = semantic_order.astype(np.int16)[codes]
    keys = np.zeros(len(codes), dtype=np.int64)
    for weight in _WEIGHTS:
        level = (
            level[:, 0::2, 0::2]
            + level[:, 0::2, 1::2]
            + level[:, 1::2, 0::2]
            + level[:, 1::2, 1::2]
        ) >> 2
        keys += weight * level.sum(axis=(1, 2), dtype=np.int64)
    return keys


def textures_from_features(features: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Make the binary textures of ``n`` patches.

    Args:
        features: Shape (n, f), the texture network's features; f is a multiple of 64.

    Returns:
        Shape (n, f // 8), packed, bit 0 the most significant bit of byte 0. Bit 0 is 0; bit i is
        1 where feature i is at least feature i - 1.

    Raises:
        ValueError: The shape is wrong, or a feature is not a finite number.
    """
    if features.ndim != 2 or features.shape[1] == 0 or features.shape[1] % FEATURES_MULTIPLE:
        msg = (
            f"features must have shape (n, f) with f a multiple of {FEATURES_MULTIPLE}, "
            f"not {features.shape}"
        )
        raise ValueError(msg)
    if not np.isfinite(features).all():
        msg = "features must be finite numbers"
        raise ValueError(msg)
    bits = np.zeros(features.shape, dtype=np.bool_)
    np.greater_equal(features[:, 1:], features[:, :-1], out=bits[:, 1:])
    return np.packbits(bits, axis=1)
