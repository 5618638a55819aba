"""The input of a user's own network: its size, how a patch is resized to it, its normalisation.

The built-in networks take the whole patch of 1024 px and have their own normalisation. Most others
were trained on tiles of 224 px at 0.5 micrometres per pixel.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Channels = Annotated[list[float], Field(min_length=3, max_length=3)]
Resize = Literal["tiles", "whole"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PixelRule(BaseModel):
    """From a patch's pixels to the network's input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    side_px: int = Field(ge=16, le=1024)
    """Edge of the square that the network takes."""
    resize: Resize
    """``tiles``: the patch is scaled to the nearest multiple of ``side_px`` and cut into squares of
    that size, whose vectors are averaged; the scale of the tissue stays nearly the same.
    ``whole``: the whole patch is scaled to ``side_px``, which is faster, but the tissue appears
    smaller than in the slide."""
    mean: Channels
    """Subtracted from red, green and blue, which are in [0, 1]."""
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)]
    """Divides the difference."""

    @property
    def preprocessing(self) -> str:
        """The rule in one line, for the manifest's ``preprocessing``."""
        mean = ",".join(f"{value!r}" for value in self.mean)
        std = ",".join(f"{value!r}" for value in self.std)
        return f"rgb8-1024/{self.resize}-{self.side_px}/mean-{mean}/std-{std}/v1"
