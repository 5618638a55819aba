from __future__ import annotations

import csv
import hashlib
import subprocess
import sys

import numpy as np
import pytest
from tests.drawing import PATTERNS, draw_collection, draw_slide
from tests.drawing.patterns import texture
from tests.paths import PROJECT

from slidekin.slides import make_mosaic, open_slide


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_same_seed_draws_the_same_slide(tmp_path):
    a = draw_slide(tmp_path / "a.tiff", "adipose", seed=5)
    b = draw_slide(tmp_path / "b.tiff", "adipose", seed=5)
    c = draw_slide(tmp_path / "c.tiff", "adipose", seed=6)
    assert digest(a.path) == digest(b.path) != digest(c.path)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_texture_has_no_seam(pattern):
    pixels = texture(pattern, 1).astype(float)
    inside = np.abs(np.diff(pixels, axis=0)).mean(), np.abs(np.diff(pixels, axis=1)).mean()
    seam = np.abs(pixels[0] - pixels[-1]).mean(), np.abs(pixels[:, 0] - pixels[:, -1]).mean()
    assert seam[0] < 1.5 * inside[0]
    assert seam[1] < 1.5 * inside[1]


def test_unknown_pattern_is_refused():
    with pytest.raises(ValueError, match="glands, stroma, lymphoid, adipose"):
        texture("bone", 0)


def test_patterns_differ_more_than_slides_of_one_pattern():
    means = {p: [texture(p, seed).mean((0, 1)) for seed in range(3)] for p in PATTERNS}
    for pattern, own in means.items():
        others = [m for p, found in means.items() if p != pattern for m in found]
        spread = max(np.linalg.norm(a - b) for a in own for b in own)
        gap = min(np.linalg.norm(a - b) for a in own for b in others)
        assert gap > spread, pattern


def test_command_draws_a_labelled_collection_of_four_patch_slides(tmp_path):
    command = [sys.executable, "-m", "tests.drawing", "--out", str(tmp_path)]
    command += ["--patients", "1", "--slides", "1"]
    done = subprocess.run(command, check=True, cwd=PROJECT, capture_output=True, text=True)
    assert "drawn 4 of 4" in done.stdout
    with (tmp_path / "labels.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == list(PATTERNS)
    for row in rows:
        with open_slide(tmp_path / f"{row['slide']}.tiff") as slide:
            assert slide.slide_id == row["slide"]
            assert len(make_mosaic(slide).positions) == 4


def test_collection_has_slides_of_several_patients_for_each_pattern(tmp_path):
    told = []
    labels = draw_collection(
        tmp_path, patterns=("lymphoid",), patients=2, progress=lambda *step: told.append(step)
    )
    with labels.open(encoding="utf-8") as stream:
        rows = [tuple(row.values()) for row in csv.DictReader(stream)]
    assert rows == [
        ("lymphoid-p1-s1", "lymphoid-p1", "lymphoid", "A1"),
        ("lymphoid-p1-s2", "lymphoid-p1", "lymphoid", "A2"),
        ("lymphoid-p2-s1", "lymphoid-p2", "lymphoid", "A1"),
        ("lymphoid-p2-s2", "lymphoid-p2", "lymphoid", "A2"),
    ]
    assert told[-1] == ("lymphoid-p2-s2", 4, 4)
    assert len({digest(path) for path in tmp_path.glob("*.tiff")}) == 4
