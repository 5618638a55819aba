"""Real slides: Aperio, generic TIFF and DICOM, the good and the bad."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.paths import test_data

from slidekin._exceptions import (
    TooCoarseError,
    UnknownResolutionError,
    UnreadableSlideError,
)
from slidekin.slides import PROFILES, find_tissue, make_mosaic, open_slide, read_patches


@pytest.fixture(scope="session")
def slides() -> Path:
    data = test_data()
    if data is None:
        pytest.skip("no real slides: name their folder in SLIDEKIN_TEST_DATA")
    return data / "slides"


def test_aperio_slide_tells_its_facts(slides):
    with open_slide(slides / "CMU-1-Small-Region.svs") as slide:
        assert slide.slide_id == "CMU-1-Small-Region"
        assert slide.vendor == "aperio"
        assert slide.dimensions == (2220, 2967)
        assert (slide.mpp, slide.mpp_source) == (0.499, "metadata")
        assert slide.patch_size_px == 1026


def test_tissue_of_the_skin_strip_leaves_out_the_glass(slides):
    with open_slide(slides / "CMU-1-Small-Region.svs") as slide:
        tissue = find_tissue(slide)
    grey = np.asarray(tissue.overview.convert("L"))
    # Darker than glass and in the mask, but for keratin's torn edge and dust.
    assert tissue.mask[grey < 190].mean() > 0.95
    assert 0.3 < tissue.mask.mean() < 0.5


@pytest.mark.parametrize("profile", PROFILES)
def test_slide_and_its_dicom_twin_have_one_mosaic_and_the_same_patches(slides, profile):
    with (
        open_slide(slides / "CMU-1-Small-Region.svs") as svs,
        open_slide(slides / "dicom_cmu1") as dicom,
    ):
        assert dicom.vendor == "dicom"
        assert dicom.slide_id == "dicom_cmu1"
        first, second = (make_mosaic(slide, PROFILES[profile]) for slide in (svs, dicom))
        assert first.positions == second.positions
        assert len(first.positions) == 4
        pairs = zip(read_patches(svs, first), read_patches(dicom, second), strict=True)
        for a, b in pairs:
            difference = np.abs(np.asarray(a.image, float) - np.asarray(b.image, float))
            assert difference.mean() < 1


def test_dicom_folder_and_its_file_are_the_same_slide(slides):
    folder = slides / "dicom_cmu1"
    with open_slide(folder) as whole, open_slide(next(folder.glob("*.dcm"))) as file:
        assert whole.source_digest == file.source_digest
        assert file.slide_id == "CMU-1-Small-Region"


def test_section_without_resolution_is_refused_until_it_is_given(slides):
    path = slides / "tcga-cr-7395-01a-01-ts1.svs"
    with pytest.raises(UnknownResolutionError, match="does not say its resolution"):
        open_slide(path)
    with open_slide(path, mpp=0.5) as slide:
        mosaic = make_mosaic(slide)
        assert mosaic.clean_patches == 12
        assert mosaic.tissue.area_mm2 == pytest.approx(2.6, abs=0.2)


def test_screen_resolution_is_not_believed_until_another_is_given(slides):
    path = slides / "pyslide_CropBreastSlide.tiff"
    with pytest.raises(UnknownResolutionError, match=r"264\.6 um per pixel is not believable"):
        open_slide(path)
    with open_slide(path, mpp=0.5) as slide:
        assert len(make_mosaic(slide).positions) == 2


def test_small_overview_is_too_coarse(slides):
    with pytest.raises(TooCoarseError, match=r"3\.195 um"):
        open_slide(slides / "generic_CMU-1-small.tiff")


def test_slide_that_openslide_refuses_is_named_with_the_reason(slides):
    with pytest.raises(UnreadableSlideError, match=r"dicom_refused: .*YBR_FULL.*export it"):
        open_slide(slides / "dicom_refused")


@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "dicom_cmu1/CMU-1-Small-Region.dcm"])
def test_slide_cut_short_is_a_clear_error(slides, tmp_path, name, share):
    whole = slides / name
    path = tmp_path / whole.name
    shutil.copyfile(whole, path)
    with path.open("r+b") as stream:
        stream.truncate(int(whole.stat().st_size * share))

    def use():
        with open_slide(path) as slide:
            list(read_patches(slide, make_mosaic(slide)))

    with pytest.raises(UnreadableSlideError, match=r"CMU-1-Small-Region\.\w+: .*cut short"):
        use()
