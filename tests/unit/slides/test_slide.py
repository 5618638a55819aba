from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from slidekin._exceptions import (
    NotASlideError,
    SlideError,
    TooCoarseError,
    UnknownResolutionError,
    UnreadableSlideError,
)
from slidekin.slides import make_mosaic, open_slide, read_patches


def test_opened_slide_tells_its_facts(slide, drawn):
    assert slide.slide_id == "glands"
    assert slide.vendor == "generic-tiff"
    assert slide.dimensions == (2816, 2816)
    assert [level.width_px for level in slide.levels] == [2816, 704]
    assert slide.mpp == pytest.approx(0.5)
    assert slide.mpp_source == "metadata"
    assert slide.patch_size_px == 1024
    assert slide.source_digest == hashlib.sha256(drawn.path.read_bytes()).hexdigest()


def test_slide_id_can_be_given(drawn):
    with open_slide(drawn.path, slide_id="S-17") as slide:
        assert slide.slide_id == "S-17"


def test_patch_is_1024_px_of_512_um_at_any_resolution(redrawn):
    path = redrawn(mpp=0.25)
    with open_slide(path) as slide:
        assert slide.patch_size_px == 2048
        assert slide.read_patch(300, 300).size == (1024, 1024)
    with open_slide(path, mpp=0.5) as slide:
        assert slide.mpp_source == "override"
        assert slide.patch_size_px == 1024


def test_patch_at_20x_has_the_slides_own_pixels(slide):
    patch = slide.read_patch(900, 1000)
    whole = slide._handle.read_region((900, 1000), 0, (1024, 1024)).convert("RGB")
    assert patch.mode == "RGB"
    assert np.array_equal(np.asarray(patch), np.asarray(whole))


def test_patch_beyond_the_slide_is_padded_with_background(slide):
    patch = np.asarray(slide.read_patch(2816 - 100, 2816 - 100))
    assert (patch[110:, 110:] == 255).all()
    assert (np.asarray(slide.read_patch(5000, 5000)) == 255).all()


def test_level_is_the_coarsest_that_shows_enough(slide):
    assert slide.level_for(0.5) == 0
    assert slide.level_for(1.99) == 1
    assert slide.level_for(100) == 1
    assert slide.level_for(0.1) == 0


def test_level_near_5x_is_not_coarser_than_twice_that(slide):
    assert slide.level_near(2.0) == 1
    assert slide.level_near(0.6) == 0
    assert slide.level_near(0.9) == 0


@pytest.mark.parametrize("downsample", [1.0, 3.7, 4.0, 16.0, 50.0])
def test_overview_equals_the_slide_made_smaller(slide, downsample):
    overview = slide.overview(downsample)
    side = round(2816 / downsample)
    assert overview.size == (side, side)
    whole = slide._handle.read_region((0, 0), 0, slide.dimensions).convert("RGB")
    smaller = whole.resize((side, side), Image.Resampling.BOX)
    difference = np.abs(np.asarray(overview, float) - np.asarray(smaller, float))
    assert difference.mean() < 2.5  # levels are JPEG, each with its own losses


def test_thumbnail_has_the_longer_side_asked_for(drawn_large):
    with open_slide(drawn_large.path) as slide:
        assert slide.thumbnail(650).size == (650, 500)


def test_thumbnail_never_enlarges(redrawn):
    with open_slide(redrawn(width_px=700, height_px=600)) as slide:
        assert slide.thumbnail(1024).size == (700, 600)


def test_many_threads_read_the_same_pixels(slide):
    expected = slide.read_patch(900, 900).tobytes()
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda _: slide.read_patch(900, 900), range(12)))
    assert all(image.tobytes() == expected for image in images)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_file_that_is_no_slide_is_named(tmp_path, content):
    path = tmp_path / "report.svs"
    path.write_bytes(content)
    with pytest.raises(NotASlideError, match=r"report\.svs: not a slide"):
        open_slide(path)


def test_ordinary_image_is_no_slide(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (2000, 2000), "pink").save(path)
    with pytest.raises(NotASlideError, match="photo"):
        open_slide(path)


def test_tiff_without_tiles_is_refused_with_the_cure(tmp_path):
    path = tmp_path / "strips.tiff"
    Image.new("RGB", (2000, 2000), "pink").save(path)
    with pytest.raises(UnreadableSlideError, match="tiled pyramidal TIFF"):
        open_slide(path)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_slide_cut_short_anywhere_is_a_clear_error(tmp_path, drawn, share):
    content = drawn.path.read_bytes()
    path = tmp_path / "cut.tiff"
    path.write_bytes(content[: int(len(content) * share)])

    def use():
        with open_slide(path) as slide:
            list(read_patches(slide, make_mosaic(slide)))

    with pytest.raises(UnreadableSlideError, match=r"cut\.tiff: .*cut short"):
        use()


def test_pixels_lost_after_opening_are_a_clear_error(tmp_path, drawn):
    path = tmp_path / "slide.tiff"
    path.write_bytes(drawn.path.read_bytes())
    with open_slide(path) as slide:
        path.write_bytes(b"")
        with pytest.raises(UnreadableSlideError, match=r"slide\.tiff: its pixels cannot be read"):
            slide.read_patch(1000, 1000)


def test_slide_without_resolution_needs_an_override(redrawn):
    path = redrawn(mpp=None)
    with pytest.raises(UnknownResolutionError, match="--mpp"):
        open_slide(path)
    with open_slide(path, mpp=0.5) as slide:
        assert slide.patch_size_px == 1024


def test_screen_resolution_is_not_believed(redrawn):
    with pytest.raises(UnknownResolutionError, match=r"264\.6 um"):
        open_slide(redrawn(mpp=25_400 / 96))


def test_reduced_copy_is_too_coarse(redrawn):
    with pytest.raises(TooCoarseError, match=r"3\.195 um"):
        open_slide(redrawn(mpp=3.195))


def test_every_error_of_a_slide_has_one_root():
    from slidekin import _exceptions  # noqa: PLC0415

    kinds = [
        kind
        for kind in vars(_exceptions).values()
        if isinstance(kind, type) and issubclass(kind, SlideError)
    ]
    assert len(kinds) == 9
    assert all(kind.__doc__ and issubclass(kind, _exceptions.SlidekinError) for kind in kinds)
