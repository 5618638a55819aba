"""A texture network's Hamming threshold, chosen from its textures of tissue.

The threshold (theta) decides which textures count as alike. If it is too low, a patch's nearest
neighbours are rejected; if it is too high, everything is admitted. Two curves show this: the share
of nearest neighbours, and the share of all pairs, whose distance is at most theta.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from slidekin_models.errors import SamplingError

Rule = Literal["share", "separation"]

MIN_PATCHES = 20
_DECILES = (10, 50, 90)


@dataclass(frozen=True, slots=True)
class Curves:
    """What each threshold from 0 to the number of bits admits."""

    nearest: NDArray[np.float64]
    """Shape (bits + 1,): share of patches whose nearest neighbour is at most that far off."""
    pairs: NDArray[np.float64]
    """Shape (bits + 1,): share of all pairs that are at most that far apart."""
    nearest_bits: NDArray[np.int64]
    """Shape (patches,): distance of each patch's nearest neighbour, sorted."""
    pair_count: int

    @property
    def bits(self) -> int:
        """Width of a texture."""
        return len(self.nearest) - 1

    def nearest_percentile(self, percent: int) -> int:
        """Least distance that admits this share of the nearest neighbours."""
        rank = math.ceil(percent / 100 * len(self.nearest_bits))
        return int(self.nearest_bits[max(0, rank - 1)])

    def deciles(self) -> tuple[int, ...]:
        """10th, 50th and 90th percentile of the nearest neighbours' distances."""
        return tuple(self.nearest_percentile(percent) for percent in _DECILES)


def measure(bits: NDArray[np.bool_], groups: Sequence[str]) -> Curves:
    """Measure the distances between patches of different groups.

    Patches of one slide share stain, scanner and often the very same tissue: they would make every
    network look better than it is in a search over other patients.

    Args:
        bits: Textures, shape (patches, bits).
        groups: The slide or patient of each.

    Raises:
        SamplingError: Too few patches, or all of one group.
    """
    if len(bits) < MIN_PATCHES or len(set(groups)) < 2:
        msg = (
            f"{len(bits)} patches of {len(set(groups))} slides or tiles: a threshold needs at "
            f"least {MIN_PATCHES} patches, and slides of at least two patients: give more tissue"
        )
        raise SamplingError(msg)
    ones = bits.astype(np.float32)
    common = ones @ ones.T
    set_bits = common.diagonal()
    distance = (set_bits[:, None] + set_bits[None, :] - 2 * common).astype(np.int64)
    _, owner = np.unique(np.asarray(groups), return_inverse=True)
    apart = owner[:, None] != owner[None, :]
    nearest = np.where(apart, distance, bits.shape[1] + 1).min(axis=1)
    pairs = distance[np.triu(apart)]
    return Curves(
        nearest=_admitted(nearest, bits.shape[1]),
        pairs=_admitted(pairs, bits.shape[1]),
        nearest_bits=np.sort(nearest),
        pair_count=len(pairs),
    )


def choose(curves: Curves, rule: Rule, share: float) -> int:
    """Choose the threshold.

    Args:
        curves: The measured curves.
        rule: ``share``: the least threshold that admits this share of nearest neighbours.
            ``separation``: the least at which the share of nearest neighbours exceeds the share of
            all pairs the most.
        share: For the rule ``share``; above 0, at most 1.

    Raises:
        SamplingError: The share is out of range.
    """
    if rule == "separation":
        return int(np.argmax(curves.nearest - curves.pairs))
    if not 0 < share <= 1:
        msg = f"share: {share} is not above 0 and at most 1; 0.9 admits nine neighbours of ten"
        raise SamplingError(msg)
    return int(np.searchsorted(curves.nearest, share - 1e-9))


def _admitted(distances: NDArray[np.int64], bits: int) -> NDArray[np.float64]:
    counts = np.bincount(distances, minlength=bits + 1)
    return np.asarray(np.cumsum(counts) / len(distances))
