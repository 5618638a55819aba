from __future__ import annotations

import hashlib
import shutil

import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from slidekin._exceptions import NotASlideError, SlideNotFoundError
from slidekin.slides._files import begins_as_slide, digest_files, find_files


def write_dicom(path, series):
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = series
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_missing_file_is_named_with_the_cure(tmp_path):
    with pytest.raises(SlideNotFoundError, match=r"gone\.svs: .*check the path"):
        find_files(tmp_path / "gone.svs")


def test_digest_of_one_file_is_its_sha256_whatever_its_name(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a.svs").write_bytes(content)
    (tmp_path / "b.tiff").write_bytes(content)
    digests = {digest_files(find_files(tmp_path / name)) for name in ("a.svs", "b.tiff")}
    assert digests == {hashlib.sha256(content).hexdigest()}


def test_folder_and_any_file_of_a_dicom_slide_are_the_same_slide(tmp_path):
    series = generate_uid()
    files = [write_dicom(tmp_path / name, series) for name in ("1.dcm", "2.dcm", "volume")]
    (tmp_path / "readme.txt").write_text("not part of it")
    whole = find_files(tmp_path)
    assert set(whole) == set(files)
    for file in files:
        found = find_files(file)
        assert found[0] == file
        assert set(found) == set(files)
        assert digest_files(found) == digest_files(whole)


def test_digest_of_a_dicom_slide_does_not_depend_on_file_names(tmp_path):
    series = generate_uid()
    (tmp_path / "a").mkdir()
    for name in ("1.dcm", "2.dcm"):
        write_dicom(tmp_path / "a" / name, series)
    (tmp_path / "b").mkdir()
    shutil.copy(tmp_path / "a" / "1.dcm", tmp_path / "b" / "z.dcm")
    shutil.copy(tmp_path / "a" / "2.dcm", tmp_path / "b" / "c.dcm")
    digests = {digest_files(find_files(tmp_path / folder)) for folder in "ab"}
    assert len(digests) == 1


def test_folder_of_several_dicom_slides_asks_which(tmp_path):
    first, second = generate_uid(), generate_uid()
    one = write_dicom(tmp_path / "1.dcm", first)
    write_dicom(tmp_path / "2.dcm", second)
    with pytest.raises(NotASlideError, match=r"holds 2 DICOM slides: name one \.dcm file"):
        find_files(tmp_path)
    assert find_files(one) == (one,)


def test_folder_without_dicom_is_not_a_slide(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(NotASlideError, match="holds no DICOM slide"):
        find_files(tmp_path)


def test_header_cut_anywhere_does_not_surprise(tmp_path):
    content = write_dicom(tmp_path / "whole.dcm", generate_uid()).read_bytes()
    cut = tmp_path / "cut" / "cut.dcm"
    cut.parent.mkdir()
    for size in range(132, len(content)):
        cut.write_bytes(content[:size])
        assert find_files(cut) == (cut,)


def test_mirax_slide_includes_the_folder_of_its_name(tmp_path):
    (tmp_path / "case.mrxs").write_bytes(b"index")
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "Data0000.dat").write_bytes(b"pixels")
    before = digest_files(find_files(tmp_path / "case.mrxs"))
    (tmp_path / "case" / "Data0000.dat").write_bytes(b"pixel5")
    assert digest_files(find_files(tmp_path / "case.mrxs")) != before


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"II*\0rest", True),
        (b"MM\0*rest", True),
        (b"II+\0rest", True),
        (bytes(128) + b"DICM", True),
        (b"", False),
        (b"\xff\xd8\xff\xe0", False),
    ],
)
def test_first_bytes_tell_a_damaged_slide_from_another_file(tmp_path, content, expected):
    file = tmp_path / "file"
    file.write_bytes(content)
    assert begins_as_slide(file) is expected
