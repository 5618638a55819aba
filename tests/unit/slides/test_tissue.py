from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.drawing import PATTERNS, draw_slide

from slidekin._exceptions import NoTissueError
from slidekin.slides import Tissue, TissueSettings, find_tissue, open_slide


def overlap(tissue: Tissue, drawn: np.ndarray) -> float:
    size = tissue.mask.shape[::-1]
    truth = np.asarray(Image.fromarray(drawn).resize(size, Image.Resampling.NEAREST))
    return (tissue.mask & truth).sum() / (tissue.mask | truth).sum()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_tissue_found_is_the_tissue_drawn(pattern, tmp_path):
    drawn = draw_slide(tmp_path / "slide.tiff", pattern, seed=11)
    with open_slide(drawn.path) as slide:
        tissue = find_tissue(slide)
    assert overlap(tissue, drawn.tissue) > 0.95
    assert tissue.overview.size == tissue.mask.shape[::-1]
    expected_mm2 = drawn.tissue.sum() * (drawn.downsample * 0.5) ** 2 / 1e6
    assert tissue.area_mm2 == pytest.approx(expected_mm2, rel=0.05)


def test_large_slide_is_segmented_on_a_small_picture(large, drawn_large):
    tissue = find_tissue(large)
    assert max(tissue.mask.shape) == 1024
    assert overlap(tissue, drawn_large.tissue) > 0.95


def test_otsu_finds_the_threshold_by_itself(slide, drawn):
    assert overlap(find_tissue(slide, TissueSettings(threshold="otsu")), drawn.tissue) > 0.8


def test_empty_glass_is_an_error_that_names_the_slide(empty):
    with open_slide(empty) as slide, pytest.raises(NoTissueError, match=r"empty\.tiff: no tissue"):
        find_tissue(slide)


def test_crumbs_are_not_tissue(redrawn):
    with (
        open_slide(redrawn(tissue_px=(200, 200))) as slide,
        pytest.raises(NoTissueError, match="smaller than"),
    ):
        find_tissue(slide)


def test_small_holes_are_tissue(slide):
    # Lumina of the glands are nearly glass.
    tissue = find_tissue(slide)
    assert tissue.share(900, 900, 1024) == 1.0
    bare = find_tissue(slide, TissueSettings(min_hole_um2=0, threshold=40, median_px=1))
    assert bare.share(900, 900, 1024) < 1.0


def tissue_of(mask: np.ndarray, scale: int = 10) -> Tissue:
    height, width = mask.shape
    overview = Image.new("RGB", (width, height))
    return Tissue(mask, overview, (width * scale, height * scale), 0.5)


def test_share_is_that_of_the_square_and_none_beyond_the_slide():
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:60] = True
    tissue = tissue_of(mask)
    assert tissue.downsample == 10
    assert tissue.share(200, 100, 100) == 1.0
    assert tissue.share(0, 0, 100) == 0.0
    assert tissue.share(150, 100, 100) == pytest.approx(0.5)
    assert tissue.share(550, 150, 100) == pytest.approx(0.5)
    assert tissue.share(5000, 5000, 100) == 0.0


def test_share_equals_counting():
    rng = np.random.default_rng(0)
    mask = rng.random((50, 70)) < 0.4
    tissue = tissue_of(mask)
    for _ in range(50):
        x, y, side = (int(value) for value in rng.integers((0, 0, 1), (60, 40, 11)))
        expected = mask[y : y + side, x : x + side].sum() / side**2
        assert tissue.share(10 * x, 10 * y, 10 * side) == pytest.approx(expected)


def test_bounds_enclose_the_tissue_within_an_area():
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    tissue = tissue_of(mask)
    assert tissue.bounds(0, 0, 600, 400) == (200, 100, 500, 300)
    assert tissue.bounds(0, 0, 300, 400) == (200, 100, 300, 300)
    assert tissue.bounds(0, 0, 100, 100) == (0, 0, 100, 100)
