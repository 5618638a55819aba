"""How many micrometres one pixel of level 0 covers, and whether to believe it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from slidekin._exceptions import TooCoarseError, UnknownResolutionError

MppSource = Literal["override", "metadata", "objective", "tiff"]

TARGET_MPP = 0.5
"""20x: what the networks are trained on."""

MAX_MPP = 0.75
"""Half-way between 20x (0.5) and 10x (1.0). Past it a patch would be enlarged more than 1.5 times:
the chromatin is gone, and such patches would find other blurred ones rather than like tissue."""

BELIEVABLE_MPP = (0.05, 10.0)
"""No slide scanner is finer (200x) or coarser (1x). Screen and print resolutions that programs
write into TIFF tags when they know nothing all lie beyond: 72 dpi = 353 um, 96 dpi = 265 um,
300 dpi = 85 um, 600 dpi = 42 um, 1200 dpi = 21 um."""

_MAX_ANISOTROPY = 1.05
"""Pixels of scanners are square; sides that differ by more contradict each other."""

_CURE = "give it by hand (--mpp, or mpp= of open_slide)"
_UM_PER_UNIT = {"centimeter": 10_000.0, "inch": 25_400.0}


def find_mpp(
    properties: Mapping[str, str], override: float | None, path: Path
) -> tuple[float, MppSource]:
    """Micrometres per level-0 pixel and where the figure comes from.

    In order: the override, the scanner's mpp, 10 / objective power, the TIFF resolution tags.

    Args:
        properties: OpenSlide's properties of the slide.
        override: The caller's figure, or None.
        path: For the message.

    Raises:
        UnknownResolutionError: None of them is there and believable, or the override is absurd.
        TooCoarseError: The figure is above `MAX_MPP`.
    """
    mpp, source = _first_believable(properties, override, path)
    if mpp > MAX_MPP:
        raise TooCoarseError(
            f"{mpp:.4g} um per pixel is too coarse for patches at 20x (0.5 um; at most "
            f"{MAX_MPP} um): use the slide as scanned at 20x or more, not a reduced copy",
            path=path,
        )
    return mpp, source


def _first_believable(
    properties: Mapping[str, str], override: float | None, path: Path
) -> tuple[float, MppSource]:
    low, high = BELIEVABLE_MPP
    if override is not None:
        if not _believable(override):
            raise UnknownResolutionError(
                f"an mpp of {override:g} um per pixel is not believable: give one between {low:g} "
                f"and {high:g} (20x is 0.5, 40x is 0.25)",
                path=path,
            )
        return override, "override"
    doubts = []
    sides: dict[MppSource, tuple[float | None, float | None]] = {
        "metadata": (
            _number(properties.get("openslide.mpp-x")),
            _number(properties.get("openslide.mpp-y")),
        ),
        "objective": (_objective(properties), _objective(properties)),
        "tiff": (_tag(properties, "X"), _tag(properties, "Y")),
    }
    for source, (mpp_x, mpp_y) in sides.items():
        if mpp_x is None or mpp_y is None:
            continue
        if not (_believable(mpp_x) and _believable(mpp_y)):
            doubts.append(f"{mpp_x:.4g} um per pixel is not believable")
        elif max(mpp_x, mpp_y) > _MAX_ANISOTROPY * min(mpp_x, mpp_y):
            doubts.append(f"{mpp_x:.4g} um across and {mpp_y:.4g} um down contradict each other")
        else:
            return (mpp_x + mpp_y) / 2, source
    why = f"its resolution of {doubts[0]}" if doubts else "it does not say its resolution"
    raise UnknownResolutionError(f"{why}: {_CURE}", path=path)


def _believable(mpp: float) -> bool:
    return math.isfinite(mpp) and BELIEVABLE_MPP[0] <= mpp <= BELIEVABLE_MPP[1]


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _objective(properties: Mapping[str, str]) -> float | None:
    power = _number(properties.get("openslide.objective-power"))
    return 10 / power if power else None


def _tag(properties: Mapping[str, str], axis: str) -> float | None:
    um = _UM_PER_UNIT.get(properties.get("tiff.ResolutionUnit", ""))
    per_unit = _number(properties.get(f"tiff.{axis}Resolution"))
    return um / per_unit if um and per_unit else None
