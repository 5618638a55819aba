"""Codes of the cohort for models whose textures have another width."""

from __future__ import annotations

import numpy as np

from slidekin_server.values import PatchCodes


def widened(codes: PatchCodes, texture_bits: int) -> PatchCodes:
    """Give codes wider textures: their first bits come a second time."""
    more = texture_bits // 8 - codes.textures.shape[1]
    assert 0 <= more <= codes.textures.shape[1], "at most twice as wide, never narrower"
    textures = np.concatenate([codes.textures, codes.textures[:, :more]], axis=1)
    return PatchCodes(codes.keys, textures, codes.xy)
