"""Deterministic weights without training: for tests, and for demonstrations that say so."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_FIRST_SEED = 1000
_SEED_STRIDE = 1_000_000


def seeded_tensors(shapes: Mapping[str, Iterable[int]], seed: int = 0) -> dict[str, Tensor]:
    """Draw weights name by name, so that they depend only on names, shapes and the seed.

    The i-th name in sorted order has its own generator, and is scaled by its role, so that the
    network's activations neither vanish nor grow in evaluation mode.

    Args:
        shapes: Shape of each parameter and buffer.
        seed: 0 gives the weights of the golden files.

    Returns:
        float32 tensors under the same names.
    """
    tensors = {}
    for i, name in enumerate(sorted(shapes)):
        shape = tuple(shapes[name])
        rng = np.random.default_rng(_FIRST_SEED + _SEED_STRIDE * seed + i)
        drawn = np.asarray(rng.standard_normal(shape), dtype=np.float64)
        value = _scaled(name, drawn).astype(np.float32)
        tensors[name] = torch.from_numpy(np.ascontiguousarray(value).reshape(shape))
    return tensors


def _scaled(name: str, g: NDArray[np.float64]) -> NDArray[np.float64]:
    if name.endswith("num_batches_tracked"):
        return np.zeros_like(g)
    if name.endswith("running_var"):
        return np.asarray(np.exp(0.2 * g))
    if name.endswith("running_mean"):
        return 0.1 * g
    if g.ndim == 1:
        return 1 + 0.1 * g if name.endswith("weight") else 0.1 * g
    if g.ndim == 4:
        return g * math.sqrt(2 / math.prod(g.shape[1:]))
    return g


def golden_image(side_px: int) -> NDArray[np.uint8]:
    """Return a fixed test image, (side_px, side_px, 3) uint8: a few waves in each channel."""
    y, x, c = np.ogrid[0:side_px, 0:side_px, 0:3]
    slow = 90 * np.sin(x / 37 + c) * np.cos(y / (23 + 5 * c))
    fast = 30 * np.sin((x + 2 * y) / (3.1 + c))
    waves: NDArray[np.float64] = np.rint(127.5 + slow + fast)
    return np.clip(waves, 0, 255).astype(np.uint8)
