"""Key and texture of a patch, computed from the networks' answers as the search service does.

The gate compares runtimes by what the index would store. This package cannot import the service's
own functions; a test checks that both give equal results.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SEED_SPACING = 50 * 10**11
"""Distance between two seeds of the guided walk, in keys: C = 50 units of 10^11."""
_WEIGHTS = (1, 10**6, 10**11)


def keys_of(codes: NDArray[np.uint8], semantic_order: list[int]) -> NDArray[np.int64]:
    """Keys of raw codes (n, 64, 64): (n,), S1 + 10^6 S2 + 10^11 S3."""
    level = np.array(semantic_order, dtype=np.int64)[codes]
    keys = np.zeros(len(codes), dtype=np.int64)
    for weight in _WEIGHTS:
        n, height, width = level.shape
        level = level.reshape(n, height // 2, 2, width // 2, 2).sum(axis=(2, 4)) // 4
        keys += weight * level.sum(axis=(1, 2))
    return keys


def texture_bits_of(features: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Textures of features (n, f): (n, f), True where a feature is at least the one before it."""
    bits = np.zeros(features.shape, dtype=np.bool_)
    np.greater_equal(features[:, 1:], features[:, :-1], out=bits[:, 1:])
    return bits
