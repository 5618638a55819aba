"""What is drawn, and what is held back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from slidekin.slides import TARGET_MPP
from slidekin_models.errors import SamplingError
from slidekin_models.networks.vqvae import DOWNSAMPLING


@dataclass(frozen=True, slots=True)
class SampleSettings:
    """What is drawn, and what is held back."""

    side_px: int = 1024
    """Of a patch; a multiple of 16."""
    mpp: float = TARGET_MPP
    """Micrometres per pixel of a patch: 0.5 is 20x."""
    seed: int = 0
    held_out_share: float = 0.0
    """Share of the tissue from which patches are drawn only if ``held_out`` is set. Which part is
    held out does not depend on seed or side."""
    hold_out_by: Literal["region", "slide"] = "region"
    """``region`` divides every slide across its longer side; ``slide`` holds out whole slides,
    which is the better test if there are many. Tiles are always held out whole."""
    min_tissue: float = 0.5
    """Least share of tissue in a patch of a slide. Tiles are taken as they are."""
    slide_mpp: Mapping[str, float] = field(default_factory=dict)
    """Micrometres per level-0 pixel of slides that do not state it, by the file's name."""
    tile_mpp: float | None = TARGET_MPP
    """Micrometres per pixel of the tiles; None scales each whole tile to one patch."""

    def __post_init__(self) -> None:
        """Refuse values that are out of range.

        Raises:
            SamplingError: A value is out of range; names it and the valid ones.
        """
        if self.side_px < DOWNSAMPLING or self.side_px % DOWNSAMPLING:
            msg = f"side_px: {self.side_px} is not a positive multiple of {DOWNSAMPLING}"
            raise SamplingError(msg)
        if not 0 <= self.held_out_share <= 0.9:
            msg = f"held_out_share: {self.held_out_share} is not between 0 and 0.9"
            raise SamplingError(msg)
        for key, mpp in (("mpp", self.mpp), ("tile_mpp", self.tile_mpp)):
            if mpp is not None and not 0.05 <= mpp <= 10:
                msg = f"{key}: {mpp} um per pixel is not believable; 20x is 0.5"
                raise SamplingError(msg)


def name_hash(name: str) -> str:
    """Return a hash that decides which files are held out; adding files does not change it."""
    return hashlib.sha256(name.encode()).hexdigest()
