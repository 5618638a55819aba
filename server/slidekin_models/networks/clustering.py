"""Codewords from data: cluster centres of an encoder's outputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 12


def cluster_centres(points: NDArray[np.float64], count: int, seed: int) -> NDArray[np.float64]:
    """Lloyd's k-means from points drawn at random; (n, dim) to (count, dim).

    Farthest-point seeds were tried and left more codewords unused on real tissue.
    """
    chosen = np.random.default_rng(seed).choice(len(points), count, replace=len(points) < count)
    centres = points[chosen]
    for _ in range(_ROUNDS):
        distance = (centres**2).sum(axis=1) - 2 * points @ centres.T
        owner = distance.argmin(axis=1)
        for i in range(count):
            members = points[owner == i]
            if len(members):
                centres[i] = members.mean(axis=0)
    return centres
