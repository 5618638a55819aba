"""The semantic order: a numbering of the codewords in which like ones are neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def principal_order(codebook: NDArray[np.float64]) -> list[int]:
    """Rank of each codeword on the codebook's first principal component.

    The published order's making is not known; this one needs nothing but the codebook. A principal
    component has no sign of its own: the coordinate of largest magnitude is made positive (the
    first of them on ties). Codewords at the same place keep the order of their indices.

    Args:
        codebook: Shape (codes, dim).

    Returns:
        ``order[old] = new``.
    """
    centred = codebook.astype(np.float64) - codebook.astype(np.float64).mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axis = axes[0]
    if axis[np.argmax(np.abs(axis))] < 0:
        axis = -axis
    by_place = np.argsort(centred @ axis, kind="stable")
    order = np.empty(len(codebook), dtype=np.int64)
    order[by_place] = np.arange(len(codebook))
    return [int(new) for new in order]
