"""The settings of a training run: everything that determines its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from slidekin_models.sampling import SampleSettings

DATA_STREAM, START_STREAM, RESTART_STREAM, AUGMENT_STREAM = range(4)
"""Each use of randomness has its own stream: no use affects another, and none has a state that a
checkpoint would have to save."""


class TrainSettings(BaseModel):
    """Settings of a run. A run can only be resumed with the same settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slides: tuple[Path, ...]
    """Files and folders."""
    side_px: int = 128
    """Of a training patch. The network is convolutional, so it also encodes 1024 px."""
    mpp: float = 0.5
    slide_mpp: Mapping[str, float] = Field(default_factory=dict)
    tile_mpp: float | None = 0.5
    held_out_share: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    """Share of the tissue that is held out, for the figures in a card."""
    hold_out_by: Literal["region", "slide"] = "region"
    steps: Annotated[int, Field(ge=1)] = 4000
    batch: Annotated[int, Field(ge=1)] = 8
    """Patches per step and process."""
    processes: Annotated[int, Field(ge=1)] = 1
    """Processes that share a step; another number of them makes another run."""
    learning_rate: Annotated[float, Field(gt=0)] = 4e-4
    """Of Adam. It decays to a tenth along half a cosine, except with the published loss alone."""
    seed: Annotated[int, Field(ge=0)] = 0
    precision: Literal["bf16", "fp32"] = "bf16"
    """Of the convolutions; weights, losses and the choice of codes are fp32 throughout."""
    data_init: bool = True
    """Codewords are initialised as cluster centres of the untrained encoder's outputs on tissue."""
    ema: bool = True
    """Codewords follow the means of their vectors instead of a gradient."""
    restart: bool = True
    """A codeword that is no longer chosen becomes a vector of the batch."""
    augment: bool = True
    """Flips, quarter turns and a change of the stains' strength."""
    stain_jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.15
    """Each stain's optical density is multiplied by 1 plus or minus up to this."""

    @property
    def constant_rate(self) -> bool:
        """Whether the learning rate is constant, as in the published training."""
        return not (self.ema or self.restart or self.data_init)

    def sampling(self) -> SampleSettings:
        """Settings for drawing patches from the slides."""
        return SampleSettings(
            side_px=self.side_px,
            mpp=self.mpp,
            seed=self.seed,
            held_out_share=self.held_out_share,
            hold_out_by=self.hold_out_by,
            slide_mpp=dict(self.slide_mpp),
            tile_mpp=self.tile_mpp,
        )
