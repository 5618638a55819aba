from __future__ import annotations

from pathlib import Path

import pytest

from slidekin.cli._common import CommandError
from slidekin.cli._labels import read_labels, unknown_slides


def _file(tmp_path: Path, content: bytes | str) -> Path:
    file = tmp_path / "labels.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def test_columns_become_patient_label_and_attributes(tmp_path: Path):
    file = _file(tmp_path, "slide,patient,label,stain,site\na,p1,carcinoma,HE,\nb,,,,lung\n")
    labels = read_labels(file)
    assert (labels["a"].patient_id, labels["a"].label) == ("p1", "carcinoma")
    assert labels["a"].attributes == {"stain": "HE"}
    assert labels["b"].attributes == {"site": "lung"}
    assert (labels["b"].patient_id, labels["b"].label, labels["b"].line) == ("", "", 3)


@pytest.mark.parametrize(
    "content",
    [
        "slide;patient;label\na;p;x, y\n",
        "slide\tpatient\tlabel\r\na\tp\tx, y\r\n",
        b'\xef\xbb\xbfSlide,Patient,LABEL\na,p,"x, y"\n',
        'label,slide,patient\n"x, y", a ,p\n,,\n\n',
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, content: str | bytes):
    labels = read_labels(_file(tmp_path, content))
    assert list(labels) == ["a"]
    assert (labels["a"].patient_id, labels["a"].label) == ("p", "x, y")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", ["empty", "slide, patient, label"]),
        ("slide,label\na,x\n", ["no 'patient'", "'slide', 'label'"]),
        ("name,who,what\na,b,c\n", ["no 'slide' and no 'patient' and no 'label'"]),
        ("slide,patient,label,stain,stain\n", ["stain twice"]),
        ("slide,patient,label\na,p,x\nb,p,y\na,q,z\n", ["line 4", "'a'", "line 2"]),
        ("slide,patient,label\n,p,x\n", ["line 2", "no slide"]),
        ("slide,patient,label\na,p,x,y\n", ["line 2", "double quotes"]),
        ("slide,patient,label\na,p,Körper\n".encode("latin-1"), ["line 2", "0xf6", "iconv -f WIN"]),
        ("slide,patient,label\na,p,x\n".encode("utf-16"), ["UTF-16", "iconv -f UTF-16"]),
        ("slide,patient,label\na,p,x\n".encode("utf-16-le"), ["UTF-16"]),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_place_and_cure(
    tmp_path: Path, content: str | bytes, told: list[str]
):
    file = _file(tmp_path, content)
    with pytest.raises(CommandError) as caught:
        read_labels(file)
    assert all(part in str(caught.value) for part in [str(file), *told])


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(CommandError, match=r"no\.csv: there is no such file"):
        read_labels(tmp_path / "no.csv")


def test_slides_nobody_knows_come_with_their_lines(tmp_path: Path):
    labels = read_labels(_file(tmp_path, "slide,patient,label\na,,\nb,,\nc,,\n"))
    assert unknown_slides(labels, {"b"}) == [("a", 2), ("c", 4)]
