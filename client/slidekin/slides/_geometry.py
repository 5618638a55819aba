"""Places and areas on a slide, all in pixels of level 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Position(NamedTuple):
    """The top-left corner of a patch, in level-0 pixels."""

    x: int
    y: int


@dataclass(frozen=True)
class Level:
    """One level of a slide's pyramid."""

    width_px: int
    height_px: int
    downsample: float
    """Level-0 pixels per pixel of this level."""


@dataclass(frozen=True)
class Region:
    """A rectangle on a slide, in level-0 pixels."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Region:
        """Read ``x,y,w,h``.

        Raises:
            ValueError: Not four whole numbers, or an empty rectangle.
        """
        cure = f"a region is x,y,width,height in whole level-0 pixels, not {text!r}"
        try:
            x, y, width, height = (int(part) for part in text.split(","))
        except ValueError:
            raise ValueError(cure) from None
        if width <= 0 or height <= 0:
            raise ValueError(cure)
        return cls(x, y, width, height)

    def inside(self, dimensions: tuple[int, int]) -> bool:
        """Whether all of it lies on a slide of these dimensions (width, height)."""
        return (
            self.width > 0
            and self.height > 0
            and self.x >= 0
            and self.y >= 0
            and self.x + self.width <= dimensions[0]
            and self.y + self.height <= dimensions[1]
        )
