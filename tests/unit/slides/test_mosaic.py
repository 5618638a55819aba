from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from threadpoolctl import threadpool_info

from slidekin._exceptions import NoTissueError, RegionError
from slidekin.slides import (
    DEFAULT,
    PROFILES,
    SISH_2022,
    MosaicSettings,
    Position,
    Region,
    Tissue,
    make_mosaic,
    open_slide,
)
from slidekin.slides._mosaic import grid, is_white, pick

SIDE = 1024


def patch_with_white(pixels: int) -> Image.Image:
    values = np.full(256 * 256, 235, np.uint8)
    values[:pixels] = 236
    return Image.fromarray(np.repeat(values.reshape(256, 256)[..., None], 3, axis=2))


def test_white_is_more_than_nine_tenths_above_grey_235():
    limit = int(0.9 * 256 * 256)
    assert not is_white(patch_with_white(limit))
    assert is_white(patch_with_white(limit + 1))
    assert not is_white(patch_with_white(0))


def histograms_of(count: int, kinds: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    prototypes = rng.multinomial(65536, rng.dirichlet(np.ones(256), kinds))
    rows = prototypes[np.arange(count) % kinds]
    return np.concatenate([rows, np.roll(rows, 3, axis=1), np.roll(rows, 7, axis=1)], axis=1)


def corners_of(count: int) -> np.ndarray:
    number = np.arange(count)
    return np.stack([number % 40, number // 40], axis=1) * SIDE


@pytest.mark.parametrize("count", range(1, 10))
def test_up_to_nine_patches_are_all_in_the_mosaic(count):
    found = pick(corners_of(count), histograms_of(count, count), DEFAULT)
    assert found == [Position(int(x), int(y)) for x, y in corners_of(count)]


@pytest.mark.parametrize("count", [2, 9, 19])
def test_patches_that_look_the_same_do_not_break_the_clusters(count):
    found = pick(corners_of(count), histograms_of(count, 1), DEFAULT)
    assert len(found) == count


def test_a_twentieth_of_each_colour_is_taken():
    # Nine colours of 100 patches each: int(0.05 * 100) = 5 from each.
    found = pick(corners_of(900), histograms_of(900, 9), DEFAULT)
    assert len(found) == 45


def test_colour_of_less_than_twenty_patches_is_taken_whole():
    # 40 patches of one colour give 2; 19 of another give all 19.
    histograms = np.concatenate([histograms_of(40, 1), histograms_of(19, 1)])
    found = pick(corners_of(59), histograms, DEFAULT)
    assert len(found) == 2 + 19


def test_centres_are_truncated_not_rounded():
    corners = np.array([[0, 0]] * 19 + [[39, 19]])  # the mean is 1.95, 0.95
    found = pick(corners, histograms_of(20, 1), DEFAULT)
    assert found == [Position(1, 0)]


@given(
    width=st.integers(200, 20_000),
    height=st.integers(200, 20_000),
    side=st.integers(700, 2100),
    corner=st.tuples(st.integers(0, 39), st.integers(0, 39)),
)
def test_grid_lies_on_the_slide_without_overlap(width, height, side, corner):
    mask = np.zeros((40, 40), bool)
    mask[corner[1] :, corner[0] :] = True
    tissue = Tissue(mask, Image.new("RGB", (40, 40)), (width, height), 0.5)
    places = grid(tissue, side)
    assert places
    assert len(set(places)) == len(places)
    for axis, limit in ((0, width), (1, height)):
        starts = sorted({place[axis] for place in places})
        assert starts[0] >= 0
        assert starts[-1] + side <= max(limit + 0.1 * side, side)
        assert all(b - a == side for a, b in pairwise(starts))


def test_mosaic_holds_the_four_patches_of_a_small_section(slide):
    mosaic = make_mosaic(slide)
    assert mosaic.grid_patches == mosaic.clean_patches == len(mosaic.positions) == 4
    assert mosaic.slide_id == slide.slide_id
    assert mosaic.dimensions == slide.dimensions
    assert mosaic.patch_size_px == 1024
    assert mosaic.settings is DEFAULT
    assert mosaic.region is None
    across, down = (sorted({p[axis] for p in mosaic.positions}) for axis in (0, 1))
    assert across[1] - across[0] == down[1] - down[0] == 1024


def test_same_slide_has_the_same_mosaic_with_any_number_of_threads(large):
    first = make_mosaic(large, workers=1)
    again = make_mosaic(large, workers=4)
    assert first.positions == again.positions
    assert first.clean_patches > 60
    # Fewer than a fifth stand for the rest.
    assert 9 <= len(first.positions) <= first.clean_patches
    assert list(first.positions) == sorted(first.positions, key=lambda p: (p.y, p.x))


def test_mosaics_made_at_once_are_those_made_one_by_one(large):
    def restricted(number: int) -> tuple[Position, ...]:
        return make_mosaic(large, region=Region(1000 * number, 500, 9000, 9000)).positions

    expected = [restricted(number) for number in range(4)]
    threads_before = [pool["num_threads"] for pool in threadpool_info()]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(restricted, range(4))) == expected
    assert [pool["num_threads"] for pool in threadpool_info()] == threads_before


def test_mosaic_covers_every_pattern_of_the_slide(large):
    mosaic = make_mosaic(large)
    bluish = Counter()
    for place in mosaic.positions:
        red, _, blue = np.asarray(large.read_square(*place, 1024, 64, 1)).mean((0, 1))
        bluish[bool(blue > red)] += 1
    assert min(bluish[True], bluish[False]) >= 3


def test_published_profile_looks_at_level_0(large):
    assert SISH_2022.histogram_mpp is None
    mosaic = make_mosaic(large, SISH_2022)
    assert mosaic.settings.profile == "sish-2022"
    assert len(mosaic.positions) >= 9
    assert mosaic.grid_patches == make_mosaic(large).grid_patches


def test_profiles_are_found_by_name():
    assert {name: settings.profile for name, settings in PROFILES.items()} == {
        "default": "default",
        "sish-2022": "sish-2022",
    }


def test_region_restricts_the_mosaic(large):
    region = Region(4000, 3000, 2900, 2500)
    mosaic = make_mosaic(large, region=region)
    assert mosaic.region == region
    assert mosaic.grid_patches == 4
    for x, y in mosaic.positions:
        assert region.x <= x <= region.x + region.width - 1024
        assert region.y <= y <= region.y + region.height - 1024


def test_region_smaller_than_a_patch_gives_one_patch_centred_on_it(large):
    mosaic = make_mosaic(large, region=Region(6000, 5000, 10, 20))
    assert mosaic.positions == (Position(6005 - 512, 5010 - 512),)


@pytest.mark.parametrize(
    "region",
    [
        Region(0, 0, 2817, 100),
        Region(2800, 2800, 100, 100),
        Region(-1, 0, 100, 100),
        Region(0, -5, 100, 100),
        Region(9000, 9000, 10, 10),
        Region(0, 0, 0, 100),
    ],
)
def test_region_outside_the_slide_is_named_with_its_size(slide, region):
    with pytest.raises(RegionError, match=r"glands\.tiff: .*2816 x 2816"):
        make_mosaic(slide, region=region)


def test_region_of_bare_glass_has_no_tissue(redrawn):
    with (
        open_slide(redrawn(tissue_px=(600, 600))) as slide,
        pytest.raises(NoTissueError, match="the region has too little tissue"),
    ):
        make_mosaic(slide, region=Region(0, 0, 1050, 1050))


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "0,0,0,5", "1.5,2,3,4"])
def test_region_that_is_no_rectangle_is_refused(text):
    with pytest.raises(ValueError, match="x,y,width,height"):
        Region.parse(text)


def test_region_is_parsed():
    assert Region.parse(" 10, 20,300,400") == Region(10, 20, 300, 400)


def test_slide_smaller_than_a_patch_is_padded(redrawn):
    path = redrawn(width_px=900, height_px=800, tissue_px=(800, 700))
    with open_slide(path) as slide:
        mosaic = make_mosaic(slide)
        assert mosaic.positions == (Position(0, 0),)
        assert slide.read_patch(0, 0).size == (1024, 1024)


def test_slide_a_little_short_of_two_patches_gives_two(redrawn):
    path = redrawn(width_px=2033, height_px=1100, tissue_px=(2600, 1600))
    with open_slide(path) as slide:
        assert [place.x for place in make_mosaic(slide).positions] == [0, 1024]


def test_filter_drops_patches_on_the_grid_and_off_it(large):
    plain = make_mosaic(large)

    def pink(image: Image.Image) -> bool:
        red, _, blue = np.asarray(image).mean((0, 1))
        return bool(red > blue)

    filtered = make_mosaic(large, patch_filter=pink)
    assert 0 < filtered.clean_patches < plain.clean_patches
    assert all(pink(large.read_square(*place, 1024, 256, 1)) for place in filtered.positions)


def test_filter_that_drops_everything_leaves_no_tissue(slide):
    with pytest.raises(NoTissueError, match="none was clean enough"):
        make_mosaic(slide, patch_filter=lambda image: False)


def test_centres_that_all_fall_on_glass_give_way_to_their_nearest_clean_patches(large):
    grid_patches = make_mosaic(large).grid_patches
    looks = []

    def clean_on_the_grid_alone(image: Image.Image) -> bool:
        looks.append(image)
        return len(looks) <= grid_patches

    mosaic = make_mosaic(large, patch_filter=clean_on_the_grid_alone, workers=1)
    on_grid = set(grid(mosaic.tissue, 1024))
    assert mosaic.positions
    assert set(mosaic.positions) <= on_grid


def test_progress_is_told_to_the_end_of_each_stage(slide):
    told = []
    make_mosaic(slide, progress=lambda *step: told.append(step))
    ends = {stage: (done, total) for stage, done, total in told}
    assert ends == {"tissue": (1, 1), "patches": (4, 4), "mosaic": (4, 4)}
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == ["tissue", "patches", "mosaic"]


def test_other_settings_give_other_mosaics(large):
    mosaic = make_mosaic(large, MosaicSettings(profile="one colour", colour_clusters=1))
    assert len(mosaic.positions) == int(0.05 * mosaic.clean_patches)
