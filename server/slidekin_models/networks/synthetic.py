"""Drawn pictures with the colours and textures of stained tissue.

An untrained VQ-VAE needs codewords near its encoder's outputs. The codewords are computed from the
outputs on these pictures, which need no data and are the same on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GLASS = np.array([243.0, 241.0, 244.0])
_STROMA = np.array([(226.0, 168.0, 198.0), (214.0, 140.0, 180.0), (236.0, 200.0, 216.0)])
_NUCLEI = np.array([(92.0, 58.0, 132.0), (116.0, 76.0, 150.0), (70.0, 46.0, 110.0)])


def stained_pictures(count: int, side_px: int, seed: int) -> NDArray[np.uint8]:
    """Draw pictures from bare glass to crowded nuclei.

    Args:
        count: How many; the amount of tissue and of nuclei varies from one to the next.
        side_px: Side of each.
        seed: Seed for everything that varies.

    Returns:
        Shape (count, side_px, side_px, 3), uint8 RGB.
    """
    rng = np.random.default_rng(seed)
    return np.stack([_picture(rng, side_px, i / max(1, count - 1)) for i in range(count)])


def _picture(rng: np.random.Generator, side_px: int, density: float) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:side_px, 0:side_px]
    fibres = np.zeros((side_px, side_px))
    for _ in range(4):
        angle, wavelength_px = rng.uniform(0, np.pi), rng.uniform(6, 90)
        phase = rng.uniform(0, 2 * np.pi)
        across = x * np.cos(angle) + y * np.sin(angle)
        fibres += np.sin(2 * np.pi * across / wavelength_px + phase) / 4
    stroma = _STROMA[rng.integers(len(_STROMA))]
    tissue = stroma + 28 * fibres[..., None]
    # Some glass in every picture, much of it in the sparse ones.
    holes = fibres > 0.9 * density - 0.2
    image = np.where(holes[..., None], _GLASS, tissue)
    for _ in range(int(density * side_px * side_px / 400)):
        cx, cy = rng.uniform(0, side_px, 2)
        rx, ry = rng.uniform(3, 9, 2)
        left, right = max(0, int(cx - rx)), min(side_px, int(cx + rx) + 2)
        top, bottom = max(0, int(cy - ry)), min(side_px, int(cy + ry) + 2)
        box = np.s_[top:bottom, left:right]
        inside = ((x[box] - cx) / rx) ** 2 + ((y[box] - cy) / ry) ** 2 < 1
        image[box][inside] = _NUCLEI[rng.integers(len(_NUCLEI))]
    image = image + rng.normal(0, 3, image.shape)
    return np.asarray(np.clip(np.rint(image), 0, 255), dtype=np.uint8)
