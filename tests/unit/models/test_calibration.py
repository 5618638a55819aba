from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.paths import test_data
from tests.unit.models import own_networks
from typer.testing import CliRunner, Result

from slidekin_models.calibration.sample import read_patients, sample_tissue
from slidekin_models.calibration.threshold import choose, measure
from slidekin_models.cli import app
from slidekin_models.errors import SamplingError
from slidekin_models.networks.pixels import PixelRule
from slidekin_models.networks.synthetic import stained_pictures
from slidekin_models.weights import imports
from slidekin_models.weights.imports import ForeignFacts, Kind
from slidekin_models.weights.manifest import TextureManifest, read_yaml, write_yaml
from slidekin_models.weights.verdicts import TextureFigures, Verdict

RNG = np.random.default_rng(3)


def run(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def plain_distances(bits: np.ndarray, groups: list[str]) -> tuple[list[int], list[int]]:
    nearest, pairs = [], []
    for i, one in enumerate(bits):
        others = [
            int((one != other).sum())
            for other, g in zip(bits, groups, strict=True)
            if g != groups[i]
        ]
        nearest.append(min(others))
        pairs += [int((one != bits[j]).sum()) for j in range(i) if groups[j] != groups[i]]
    return nearest, pairs


def test_curves_agree_with_counting_pair_by_pair() -> None:
    bits = RNG.random((30, 64)) < 0.5
    groups = [f"slide {i % 4}" for i in range(30)]
    curves = measure(bits, groups)
    nearest, pairs = plain_distances(bits, groups)
    assert curves.pair_count == len(pairs)
    assert curves.nearest_bits.tolist() == sorted(nearest)
    for threshold in range(65):
        assert curves.nearest[threshold] == np.mean(np.array(nearest) <= threshold)
        assert curves.pairs[threshold] == np.mean(np.array(pairs) <= threshold)


def test_copies_on_one_slide_do_not_count_as_neighbours() -> None:
    bits = np.repeat(RNG.random((10, 64)) < 0.5, 3, axis=0)
    per_slide = [f"slide {i // 3}" for i in range(30)]
    assert measure(bits, per_slide).nearest_bits.min() > 0
    assert measure(bits, [str(i) for i in range(30)]).nearest_bits.max() == 0


def test_the_threshold_admits_the_share_and_not_one_bit_more() -> None:
    curves = measure(RNG.random((50, 64)) < 0.5, [str(i) for i in range(50)])
    for share in (0.1, 0.5, 0.9, 1.0):
        threshold = choose(curves, "share", share)
        assert curves.nearest[threshold] >= share
        assert curves.nearest[threshold - 1] < share
    apart = curves.nearest - curves.pairs
    assert apart[choose(curves, "separation", 0.9)] == apart.max()
    with pytest.raises(SamplingError, match="share: 90"):
        choose(curves, "share", 90)


@pytest.mark.parametrize(("patches", "slides"), [(19, 19), (40, 1)])
def test_too_little_tissue_is_refused(patches: int, slides: int) -> None:
    bits = RNG.random((patches, 64)) < 0.5
    with pytest.raises(SamplingError, match="give more tissue"):
        measure(bits, [str(i % slides) for i in range(patches)])


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    folder = tmp_path / "tiles"
    folder.mkdir()
    for i, picture in enumerate(stained_pictures(24, 64, seed=9)):
        Image.fromarray(picture).save(folder / f"tile_{i:02}.png")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rule = PixelRule(side_px=32, resize="whole", mean=[0.5] * 3, std=[0.2] * 3)
    imports.import_foreign(
        own_networks.write_onnx(tmp_path / "own.onnx"),
        Kind.ONNX,
        tmp_path / "own",
        ForeignFacts("own", "MIT", "made here", rule),
    )
    return tmp_path / "own"


def test_the_command_sets_the_threshold_and_shows_why(
    tmp_path: Path, model: Path, tiles: Path
) -> None:
    before = read_yaml(model / "manifest.yaml", TextureManifest)
    done = run("calibrate", model, "--tissue", tiles)
    assert done.exit_code == 0, done.stderr
    after = read_yaml(model / "manifest.yaml", TextureManifest)
    assert f"threshold    {after.hamming_threshold_bits} of 64 bits" in done.stdout
    changed = {"hamming_threshold_bits", "threshold_note"}
    assert before.model_dump(exclude=changed) == after.model_dump(exclude=changed)
    assert "24 tiles" in after.threshold_note

    numbers = json.loads((model / "calibration.json").read_text(encoding="utf-8"))
    threshold = numbers["threshold_bits"]
    assert threshold == after.hamming_threshold_bits
    assert numbers["nearest_neighbours_admitted"][threshold] >= 0.9
    assert numbers["nearest_neighbours_admitted"][threshold - 1] < 0.9
    assert len(numbers["pairs_admitted"]) == 65
    assert numbers["pairs"] == 24 * 23 // 2
    with Image.open(model / "calibration.png") as picture:
        assert picture.width > 600
    card = (model / "CARD.md").read_text(encoding="utf-8")
    assert card.startswith("# own\n")
    assert f"| **{threshold}** |" in card


def test_a_runtime_is_judged_anew_by_the_new_threshold(model: Path, tiles: Path) -> None:
    manifest = read_yaml(model / "manifest.yaml", TextureManifest)
    figures = TextureFigures(bits_median=1, bits_p95=3, bits_most=3)
    verdict = Verdict[TextureFigures](
        runtime="torch-folded",
        precision="bf16",
        device="cpu",
        accepted=True,
        figures=figures,
        patches=32,
        tissue=["slide.svs"],
        versions={},
        weights_sha256=manifest.weights_sha256,
    )
    # Three bits of 64 are little for a threshold of 60, and much for one of tissue.
    write_yaml(
        manifest.model_copy(update={"hamming_threshold_bits": 60, "runtimes": [verdict]}),
        model / "manifest.yaml",
    )
    assert run("calibrate", model, "--tissue", tiles).exit_code == 0
    (judged,) = read_yaml(model / "manifest.yaml", TextureManifest).runtimes
    assert not judged.accepted
    assert judged.figures == figures


def test_a_card_keeps_what_people_wrote_into_it(model: Path, tiles: Path) -> None:
    (model / "CARD.md").write_text("# Ours\n\nAsk Dr Gray.\n", encoding="utf-8")
    for options in ((), ("--rule", "separation")):
        assert run("calibrate", model, "--tissue", tiles, *options).exit_code == 0
    card = (model / "CARD.md").read_text(encoding="utf-8")
    assert card.startswith("# Ours\n\nAsk Dr Gray.\n")
    assert card.count("## Hamming threshold") == 1
    assert "furthest apart" in card


def test_tiles_of_one_patient_are_one_group(tmp_path: Path, tiles: Path) -> None:
    table = tmp_path / "labels.csv"
    rows = [f"tile_{i:02}.png,P{i % 5},x" for i in range(23)]
    table.write_text("\n".join(["slide,patient,label", *rows]), encoding="utf-8")
    sample = sample_tissue(
        tiles, patches=100, seed=0, patients=read_patients(table), slide_mpp={}, say=print
    )
    assert len(sample) == 24
    assert set(sample.groups) == {"P0", "P1", "P2", "P3", "P4", "tile_23.png"}
    table.write_text("slide;patient\na;b", encoding="utf-8")
    with pytest.raises(SamplingError, match=r"labels\.csv: needs the columns slide and patient"):
        read_patients(table)


def test_slides_are_sampled_evenly_and_what_is_none_is_passed_over(tmp_path: Path) -> None:
    data = test_data()
    if data is None:
        pytest.skip("no real slides: set SLIDEKIN_TEST_DATA to their folder")
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in ("CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs"):
        (folder / name).symlink_to(data / "slides" / name)
    (folder / "broken.svs").write_bytes(b"no slide")
    sample = sample_tissue(
        folder,
        patches=5,
        seed=0,
        patients={"CMU-1-Small-Region": "P1"},
        slide_mpp={"tcga-cr-7395-01a-01-ts1.svs": 0.5},
        say=print,
    )
    assert sample.groups == ("P1", "P1", *["tcga-cr-7395-01a-01-ts1.svs"] * 2)
    assert "broken.svs" in sample.skipped[0]
    patches = list(sample.patches())
    assert [patch.shape for patch in patches] == [(1024, 1024, 3)] * 4


def test_a_folder_without_tissue_is_named(tmp_path: Path, model: Path) -> None:
    for folder, message in ((tmp_path / "none", "no such folder"), (tmp_path, "neither slides")):
        where = folder if folder.name == "none" else tmp_path / "empty"
        (tmp_path / "empty").mkdir(exist_ok=True)
        done = run("calibrate", model, "--tissue", where)
        assert done.exit_code == 2
        assert message in done.stderr
    done = run("calibrate", model, "--tissue", tmp_path, "--slide-mpp", "slide.svs")
    assert "--slide-mpp" in done.stderr


def test_a_bundle_stays_as_it_was_built(demo_bundle: Path, tiles: Path) -> None:
    done = run("calibrate", demo_bundle / "texture", "--tissue", tiles)
    assert done.exit_code == 2
    assert "is part of a bundle" in done.stderr
