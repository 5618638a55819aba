from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from slidekin.evaluation import EvaluationError, TileFacts, find_tiles, scaled


def make(folder: Path, *names: str, size: tuple[int, int] = (80, 80)) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "pink").save(path)


def test_the_pattern_names_label_and_patient(tmp_path: Path):
    make(tmp_path, "p7_1_label_3.png", "p8_2_label_0.tif", "other.png")
    tiles, without = find_tiles(tmp_path, pattern=r"(?P<patient>p\d)_.*_label_(?P<label>\d)")
    assert [(t.tile_id, t.label, t.patient_id) for t in tiles] == [
        ("p7_1_label_3", "3", "p7"),
        ("p8_2_label_0", "0", "p8"),
    ]
    assert [path.name for path in without] == ["other.png"]


def test_without_a_pattern_the_first_folder_is_the_label(tmp_path: Path):
    make(tmp_path, "tumour/a.png", "stroma/deep/a.png", "loose.png")
    tiles, without = find_tiles(tmp_path)
    assert {(t.tile_id, t.label) for t in tiles} == {
        ("tumour.a", "tumour"),
        ("stroma.deep.a", "stroma"),
    }
    assert len(without) == 1


def test_a_table_names_tiles_by_id_file_or_stem(tmp_path: Path):
    make(tmp_path, "x/a.png", "b.png", "c.png", "d.png")
    table = {"x.a": TileFacts("1", "p"), "b.png": TileFacts("2"), "c": TileFacts("3")}
    tiles, without = find_tiles(tmp_path, table=table)
    assert {t.tile_id: (t.label, t.patient_id) for t in tiles} == {
        "x.a": ("1", "p"), "b": ("2", ""), "c": ("3", ""),
    }  # fmt: skip
    assert [path.name for path in without] == ["d.png"]


@pytest.mark.parametrize(
    ("names", "pattern", "told"),
    [
        ((), None, "no pictures"),
        (("a.png",), None, "none of its 1 pictures has a label"),
        (("a.png",), "x(?P<label>.)", "none of its 1 pictures has a label"),
        (("a.png",), "a", "no group 'label'"),
        (("a.png",), "(?P<label>", "regular expression"),
        (("a/b.png", "a/b.tif"), None, "would both be called a.b"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_cure(
    tmp_path: Path, names: tuple[str, ...], pattern: str | None, told: str
):
    make(tmp_path, *names)
    with pytest.raises(EvaluationError, match=told):
        find_tiles(tmp_path, pattern=pattern)


@pytest.mark.parametrize("size", [(80, 60), (32, 32)])
def test_a_tile_that_is_no_square_of_use_is_refused_by_name(tmp_path: Path, size: tuple[int, int]):
    make(tmp_path, "a/odd.png", size=size)
    (tile,), _ = find_tiles(tmp_path)
    with pytest.raises(EvaluationError, match=r"odd\.png: .* px"):
        tile.read()


def test_something_that_is_no_picture_is_refused_by_name(tmp_path: Path):
    make(tmp_path, "a/good.png")
    (tmp_path / "a" / "bad.png").write_bytes(b"no picture")
    tiles, _ = find_tiles(tmp_path)
    with pytest.raises(EvaluationError, match=r"bad\.png: cannot be read"):
        tiles[0].read()


def test_a_tile_is_scaled_to_a_patch(tmp_path: Path):
    make(tmp_path, "a/t.png")
    (tile,), _ = find_tiles(tmp_path)
    assert scaled(tile.read()).size == (1024, 1024)
