"""Patches that a caller has at hand, as pictures or as codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ImageFormat = Literal["jpeg", "png", "rgb"]
"""How a picture is laid out."""


@dataclass(frozen=True, slots=True)
class ImagePatch:
    """A patch as a picture; the service's networks encode it."""

    x_px: int
    """Left edge in level-0 pixels."""
    y_px: int
    """Top edge in level-0 pixels."""
    data: bytes
    """The picture: a file's bytes, or raw RGB."""
    format: ImageFormat = "jpeg"
    """Layout of ``data``."""
    width_px: int = 0
    """Width, needed for ``rgb``."""
    height_px: int = 0
    """Height, needed for ``rgb``."""
    thumbnail: bytes | None = None
    """A small JPEG to look at; kept with stored slides."""


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Ready-made codes of ``n`` patches."""

    keys: NDArray[np.int64]
    """Shape (n,). SISH keys, 0 <= key < 2**63."""
    textures: NDArray[np.uint8]
    """Shape (n, texture_bits // 8). Bit 0 is the most significant bit of byte 0."""
    xy: NDArray[np.int32]
    """Shape (n, 2). Top-left corners in level-0 pixels."""

    def __post_init__(self) -> None:
        n = len(self.keys)
        if (
            self.keys.shape != (n,)
            or self.textures.ndim != 2
            or len(self.textures) != n
            or self.textures.dtype != np.uint8
            or self.xy.shape != (n, 2)
        ):
            raise ValueError(
                "codes do not fit together: keys must have shape (n,), textures (n, bytes) as "
                f"uint8, xy (n, 2); got {self.keys.shape}, {self.textures.shape} "
                f"{self.textures.dtype}, {self.xy.shape}"
            )

    def __len__(self) -> int:
        return len(self.keys)
