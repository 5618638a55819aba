"""Augmented views of a patch: rotated, mirrored, with stronger or weaker stains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical densities of haematoxylin, eosin and a residue in red, green and blue (Ruifrok and
Johnston 2001)."""
_STAINS_UNIT = _STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True)
_DENSITY = (-np.log((np.arange(256) + 1) / 256)).astype(np.float32)


def augmented(
    patch: NDArray[np.uint8], rng: np.random.Generator, stain_jitter: float
) -> NDArray[np.uint8]:
    """Return one of the eight flips and quarter turns, with each stain's density scaled.

    Args:
        patch: (side, side, 3) uint8 RGB.
        rng: Source of randomness.
        stain_jitter: Each stain is scaled by a factor between 1 - this and 1 + this.

    Returns:
        An array of the shape of ``patch``.
    """
    view = np.rot90(patch, int(rng.integers(4)))
    if rng.integers(2):
        view = view[:, ::-1]
    if stain_jitter:
        scale = rng.uniform(1 - stain_jitter, 1 + stain_jitter, 3)
        # From colours to amounts of stain, scaled there, and back: one matrix.
        mix = np.linalg.inv(_STAINS_UNIT) @ np.diag(scale) @ _STAINS_UNIT
        density = _DENSITY[view] @ mix.astype(np.float32)
        view = np.clip(np.rint(256 * np.exp(-density) - 1), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(view)
