"""Plain values that pass between the service's packages.

Nothing here computes or does input/output; every other package may import it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class SearchMode(enum.Enum):
    """How the patches of a query are looked for in the index."""

    GUIDED = "guided"
    """SISH's guided walk from the query's key: bounded work at any size of the index."""
    EXACT = "exact"
    """A full Hamming scan over all admitted patches."""
    HYBRID = "hybrid"
    """Guided first, then exact for what came back short."""


@dataclass(frozen=True, slots=True, eq=False)
class PatchCodes:
    """What the encoders say of ``n`` patches: all that the index keeps of a slide."""

    keys: NDArray[np.int64]
    """Shape (n,). SISH keys, 0 <= key < 2**63."""
    textures: NDArray[np.uint8]
    """Shape (n, texture_bits // 8). Bit 0 is the most significant bit of byte 0."""
    xy: NDArray[np.int32]
    """Shape (n, 2). Top-left corners, in level-0 pixels of their slide."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def texture_bits(self) -> int:
        """Width of a texture."""
        return int(self.textures.shape[1]) * 8


@dataclass(frozen=True, slots=True, eq=False)
class Bag:
    """The hits of one query patch, sorted by Hamming distance; ties in order of discovery."""

    keys: NDArray[np.int64]
    """Shape (m,). Keys of the matched patches."""
    distances: NDArray[np.int32]
    """Shape (m,). Hamming distances to the query's texture, in bits, ascending."""
    slides: NDArray[np.int64]
    """Shape (m,). Numbers of the slides that own the matched patches."""
    patches: NDArray[np.int32]
    """Shape (m,). Index of each matched patch within its slide, from 0."""
    mode: SearchMode
    """The mode that produced these hits: GUIDED or EXACT."""

    def __len__(self) -> int:
        return len(self.keys)
