"""The patches of a mosaic, read ahead by several threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from slidekin.slides._geometry import Position
from slidekin.slides._mosaic import Mosaic
from slidekin.slides._parallel import ordered_map
from slidekin.slides._slide import Slide


@dataclass(frozen=True, eq=False)
class PatchImage:
    """One patch: where it lies (top-left, level-0 pixels) and how it looks."""

    x: int
    y: int
    image: Image.Image
    """RGB, 1024 x 1024."""


def read_patches(
    slide: Slide, mosaic: Mosaic, *, workers: int | None = None, ahead: int | None = None
) -> Iterator[PatchImage]:
    """Read the patches of ``mosaic`` in its order.

    Args:
        slide: The slide the mosaic was made from, open.
        mosaic: Its positions are read.
        workers: Reading threads; default: one a core, at most 4.
        ahead: Patches (3 MiB each) read before they are asked for; default: twice the threads.

    Raises:
        UnreadableSlideError: At the patch whose pixels cannot be read.
    """
    level_0 = mosaic.settings.histogram_mpp is None
    return read_patches_at(slide, mosaic.positions, level_0=level_0, workers=workers, ahead=ahead)


def read_patches_at(
    slide: Slide,
    positions: Sequence[Position],
    *,
    level_0: bool = False,
    workers: int | None = None,
    ahead: int | None = None,
) -> Iterator[PatchImage]:
    """Read patches at given places, in their order.

    Args:
        slide: The slide, open.
        positions: Top-left corners.
        level_0: As `Slide.read_patch` takes it.
        workers: As `read_patches` takes it.
        ahead: Likewise.

    Raises:
        UnreadableSlideError: At the patch whose pixels cannot be read.
    """

    def read(position: Position) -> PatchImage:
        image = slide.read_patch(position.x, position.y, level_0=level_0)
        return PatchImage(position.x, position.y, image)

    return ordered_map(read, positions, workers=workers, ahead=ahead)
