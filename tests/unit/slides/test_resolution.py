from __future__ import annotations

import math
from pathlib import Path

import pytest

from slidekin._exceptions import TooCoarseError, UnknownResolutionError
from slidekin.slides._resolution import find_mpp

PATH = Path("ward/slide.svs")
SCANNER = {"openslide.mpp-x": "0.499", "openslide.mpp-y": "0.499"}


@pytest.mark.parametrize(
    ("properties", "override", "expected"),
    [
        (SCANNER, None, (0.499, "metadata")),
        (SCANNER, 0.25, (0.25, "override")),
        ({"openslide.objective-power": "40"}, None, (0.25, "objective")),
        (SCANNER | {"openslide.objective-power": "40"}, None, (0.499, "metadata")),
        # 96 dpi tells of a screen, the objective of the microscope.
        (
            {
                "openslide.mpp-x": "264.58",
                "openslide.mpp-y": "264.58",
                "openslide.objective-power": "20",
            },
            None,
            (0.5, "objective"),
        ),
        (
            {
                "tiff.ResolutionUnit": "centimeter",
                "tiff.XResolution": "40000",
                "tiff.YResolution": "40000",
            },
            None,
            (0.25, "tiff"),
        ),
        ({}, 0.5, (0.5, "override")),
    ],
)
def test_resolution_comes_from_the_best_believable_source(properties, override, expected):
    mpp, source = find_mpp(properties, override, PATH)
    assert (pytest.approx(mpp), source) == expected


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"openslide.mpp-x": "0.5"},
        {"openslide.mpp-x": "unknown", "openslide.mpp-y": "unknown"},
        {"openslide.mpp-x": "nan", "openslide.mpp-y": "nan"},
        {"openslide.mpp-x": "264.58", "openslide.mpp-y": "264.58"},
        {"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.5"},
        {"openslide.objective-power": "0"},
        {"tiff.ResolutionUnit": "inch", "tiff.XResolution": "96", "tiff.YResolution": "96"},
        {"tiff.ResolutionUnit": "none", "tiff.XResolution": "1", "tiff.YResolution": "1"},
    ],
)
def test_slide_without_believable_resolution_is_refused_with_the_cure(properties):
    with pytest.raises(UnknownResolutionError, match=r"slide\.svs: .*--mpp") as caught:
        find_mpp(properties, None, PATH)
    assert caught.value.path == PATH


@pytest.mark.parametrize("override", [0.0, -0.5, 264.58, 0.0005, math.nan, math.inf])
def test_absurd_override_is_refused(override):
    with pytest.raises(UnknownResolutionError, match="not believable"):
        find_mpp(SCANNER, override, PATH)


@pytest.mark.parametrize(("mpp", "fine"), [("0.75", True), ("0.76", False), ("3.195", False)])
def test_slide_coarser_than_half_way_to_10x_is_refused(mpp, fine):
    properties = {"openslide.mpp-x": mpp, "openslide.mpp-y": mpp}
    if fine:
        assert find_mpp(properties, None, PATH) == (float(mpp), "metadata")
    else:
        with pytest.raises(TooCoarseError, match="scanned at 20x"):
            find_mpp(properties, None, PATH)
