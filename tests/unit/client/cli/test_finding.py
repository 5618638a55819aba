from __future__ import annotations

from pathlib import Path

from slidekin.cli._finding import find_slides


def _touch(root: Path, *names: str) -> None:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_folders_are_walked_and_dicom_folders_are_one_slide(tmp_path: Path):
    _touch(
        tmp_path, "b.svs", "a.TIFF", "notes.txt", ".hidden.svs", "deep/er/c.ndpi",
        "dicom-1/1.dcm", "dicom-1/2.dcm", "mirax.mrxs", "mirax/Slidedat.ini",
    )  # fmt: skip
    found = find_slides([tmp_path])
    assert [slide.slide_id for slide in found] == ["a", "b", "mirax", "c", "dicom-1"]
    assert {slide.path for slide in found if slide.slide_id == "dicom-1"} == {tmp_path / "dicom-1"}


def test_a_file_named_outright_is_taken_whatever_its_suffix(tmp_path: Path):
    _touch(tmp_path, "strange.slide", "x.svs")
    (found,) = find_slides([tmp_path / "strange.slide"])
    assert (found.slide_id, found.path) == ("strange", tmp_path / "strange.slide")


def test_a_path_that_is_not_there_comes_out_to_be_reported(tmp_path: Path):
    (found,) = find_slides([tmp_path / "gone.svs"])
    assert found.slide_id == "gone"


def test_a_slide_named_twice_comes_out_once(tmp_path: Path):
    _touch(tmp_path, "x.svs")
    assert len(find_slides([tmp_path, tmp_path / "x.svs"])) == 1
