"""Inputs of the index and their bounds: parameters of the guided search, codes of slides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from slidekin_server.index.errors import ParameterError
from slidekin_server.values import PatchCodes

SEED_SPACING_UNIT: Final = 10**11
"""One unit of a key's third sum, in which C is given."""
MAX_SEED_REACH: Final = 2**62
"""Largest distance of a seed from a query's key: beyond it there is no key."""

_MAX_SLIDES: Final = 2**31


@dataclass(frozen=True, slots=True)
class GuidedParameters:
    """How far and how strictly the guided search looks; the defaults are the published ones.

    Raises:
        ParameterError: A field is out of range.
    """

    C: int = 50
    """Distance between neighbouring seeds, in units of 10**11 (the key's coarsest sum). > 0."""
    T: int = 10
    """Seeds on each side of the query's key, including the key itself. > 0."""
    successor_steps: int = 375
    """Keys with admitted patches that are looked at upward from each seed. >= 0."""
    predecessor_steps: int = 375
    """Keys with admitted patches that are looked at downward from each seed. >= 0."""
    hamming_threshold_bits: int = 128
    """Largest Hamming distance of a hit, in bits; depends on the texture network. >= 0."""
    include_seed_key: bool = False
    """Look at each seed's own key first, before its two walks (which never visit it). This is not
    counted as a step. The published search leaves it out: a patch with exactly the query's key is
    then found only from another seed."""

    def __post_init__(self) -> None:
        for field, least in (
            ("C", 1),
            ("T", 1),
            ("successor_steps", 0),
            ("predecessor_steps", 0),
            ("hamming_threshold_bits", 0),
        ):
            value = getattr(self, field)
            if not isinstance(value, int) or not least <= value < 2**31:
                raise ParameterError(field, f"must be an integer in {least}..2**31 - 1")
        if self.C * self.T * SEED_SPACING_UNIT > MAX_SEED_REACH:
            raise ParameterError("T", "C * T * 10**11 must not exceed 2**62")


def check_codes(number: int | None, codes: PatchCodes, texture_bits: int) -> None:
    """Check that a slide fits into an index with textures of this width.

    Raises:
        ParameterError: Its number or its codes do not fit.
    """
    if number is None or not 0 <= number < _MAX_SLIDES:
        raise ParameterError("number", "must lie in 0..2**31 - 1")
    keys, textures = codes.keys, codes.textures
    if keys.dtype != np.int64 or keys.ndim != 1:
        raise ParameterError("keys", f"slide {number}: must be int64 of shape (n,)")
    if len(keys) and keys.min() < 0:
        raise ParameterError("keys", f"slide {number}: must not be negative")
    shape = (len(keys), texture_bits // 8)
    if textures.dtype != np.uint8 or textures.shape != shape:
        reason = (
            f"slide {number}: must be uint8 of shape {shape} ({texture_bits} bits), "
            f"not {textures.dtype} of shape {textures.shape}"
        )
        raise ParameterError("textures", reason)
