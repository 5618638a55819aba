from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.e2e.conftest import Slidekin
from tests.paths import test_data

TWINS = {"CMU-1-Small-Region": "CMU-1-Small-Region.svs", "dicom_cmu1": "dicom_cmu1"}
"""One skin section, as Aperio file and as DICOM folder."""
OTHERS = {
    "tcga-cr-7395-01a-01-ts1": "tcga-cr-7395-01a-01-ts1.svs",
    "pyslide_CropBreastSlide": "pyslide_CropBreastSlide.tiff",
}
"""Sections of other organs, whose files do not say what a pixel measures."""


@pytest.fixture(scope="module")
def archive(slidekin: Slidekin, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of real slides, all of them ingested, each a patient of its own."""
    data = test_data()
    if data is None:
        pytest.skip("SLIDEKIN_TEST_DATA names no folder of real slides: no DICOM twin to compare")
    slides = data / "slides"
    labels = tmp_path_factory.mktemp("labels") / "labels.csv"
    rows = [f"{slide},{slide},{'skin' if slide in TWINS else 'other'}" for slide in TWINS | OTHERS]
    labels.write_text("\n".join(["slide,patient,label", *rows]) + "\n")
    here = ["--collection", "real", "--labels", labels]
    slidekin("ingest", *(slides / name for name in OTHERS.values()), *here, "--mpp", 0.5)
    slidekin("ingest", *(slides / name for name in TWINS.values()), *here)
    return slides


@pytest.mark.timeout(600)
@pytest.mark.parametrize("profile", ["default", "sish-2022"])
def test_a_slide_and_its_dicom_twin_find_each_other_first(
    slidekin: Slidekin, archive: Path, tmp_path: Path, profile: str
):
    for own, other in [tuple(TWINS), tuple(reversed(TWINS))]:
        file = tmp_path / f"{own}.json"
        options = ["--exclude-patient", own, "--profile", profile, "--json", file]
        slidekin("search", archive / TWINS[own], "--collection", "real", *options)
        assert json.loads(file.read_text())["slides"][0]["slide_id"] == other
