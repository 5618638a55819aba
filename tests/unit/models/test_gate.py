"""The gate compares what the index would hold, refuses what is too far off, notes what it found."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from slidekin_models.errors import ManifestError
from slidekin_models.keys import SEED_SPACING, keys_of, texture_bits_of
from slidekin_models.networks.synthetic import stained_pictures
from slidekin_models.runtimes.gate import (
    Tissue,
    code_figures,
    judge,
    model_directories,
    texture_figures,
)
from slidekin_models.runtimes.placement import Placement
from slidekin_models.runtimes.serving import load_texture
from slidekin_models.weights.fingerprint import fingerprint
from slidekin_models.weights.manifest import TextureManifest, VqVaeManifest, read_manifest
from slidekin_models.weights.verdicts import (
    CodeFigures,
    TextureFigures,
    faults_of_codes,
    faults_of_textures,
    rejudged,
)
from slidekin_server.codes import keys_from_codes, textures_from_features

RNG = np.random.default_rng(7)
ORDER = RNG.permutation(128)
CODES = RNG.integers(0, 128, (5, 64, 64), dtype=np.uint8)
FEATURES = RNG.normal(size=(5, 1280)).astype(np.float32)


def test_keys_and_textures_are_those_of_the_service() -> None:
    np.testing.assert_array_equal(keys_of(CODES, list(ORDER)), keys_from_codes(CODES, ORDER))
    bits = np.packbits(texture_bits_of(FEATURES), axis=1)
    np.testing.assert_array_equal(bits, textures_from_features(FEATURES))


def test_figures_count_codes_keys_and_bits() -> None:
    other = CODES.copy()
    other[2, 0, :41] = (other[2, 0, :41] + 64) % 128
    figures = code_figures(CODES, other, list(ORDER))
    assert figures.equal_codes == pytest.approx(1 - 41 / CODES.size, abs=1e-5)
    assert figures.fewest_equal_codes == pytest.approx(1 - 41 / 4096, abs=1e-5)
    moved = abs(int(np.subtract(*(keys_of(codes, list(ORDER))[2] for codes in (CODES, other)))))
    assert figures.key_shift_most == pytest.approx(moved / SEED_SPACING, abs=1e-5)
    assert figures.key_shift_median == 0

    features = FEATURES.copy()
    features[1] = -features[1]
    found = texture_figures(FEATURES, features)
    assert (found.bits_median, found.bits_most) == (0, 1279)


@pytest.mark.parametrize(
    ("change", "precision", "message"),
    [
        ({}, "fp32", None),
        ({"fewest_equal_codes": 1 - 4 / 4096}, "fp32", None),
        ({"fewest_equal_codes": 1 - 5 / 4096}, "fp32", "equal codes of a patch"),
        ({"fewest_equal_codes": 0.91, "equal_codes": 0.96}, "bf16", None),
        ({"equal_codes": 0.94}, "fp16", "equal codes: 94.00%, at least 95.00%"),
        ({"key_shift_most": 0.51}, "bf16", "moved by 0.51 of the walk's spacing"),
    ],
)
def test_codes_are_held_to_the_limits_of_their_precision(
    change: dict[str, float], precision: str, message: str | None
) -> None:
    same = {"equal_codes": 1, "fewest_equal_codes": 1}
    still = dict.fromkeys(("key_shift_median", "key_shift_p95", "key_shift_most"), 0)
    faults = faults_of_codes(CodeFigures(**(same | still | change)), precision)
    assert bool(faults) == bool(message)
    assert (message or "") in "".join(faults)


def test_textures_are_held_to_a_share_of_their_threshold() -> None:
    figures = TextureFigures(bits_median=5, bits_p95=11, bits_most=22)
    assert faults_of_textures(figures, "bf16", 223) == []
    assert "at most 10 allowed" in faults_of_textures(figures, "bf16", 200)[0]
    assert len(faults_of_textures(figures, "fp32", 223)) == 2


def test_the_verdict_stands_in_the_manifest_and_the_fingerprint_stays(
    lite0: Path, tmp_path: Path
) -> None:
    model = tmp_path / "texture"
    shutil.copytree(lite0, model)
    before = read_manifest(model)
    assert isinstance(before, TextureManifest)
    patches = tuple(stained_pictures(2, 128, seed=9))
    tissue = Tissue(patches, ("drawn",))
    placement = Placement(runtime="torch-folded", threads=1)
    for _ in range(2):  # the second verdict takes the first one's place
        (judgement,) = judge(model, [placement], tissue, lambda _: None)
    assert judgement.faults == ()
    after = read_manifest(model)
    assert isinstance(after, TextureManifest)
    assert after.runtimes == [*before.runtimes, judgement.verdict]
    assert (judgement.verdict.patches, judgement.verdict.tissue) == (2, ["drawn"])
    load_texture(model, placement)
    vqvae = VqVaeManifest(
        name="v",
        architecture="vqvae",
        source="s",
        licence="l",
        weights_sha256="0" * 64,
        preprocessing="p",
        random_weights=True,
        semantic_order=list(range(128)),
    )
    assert fingerprint(vqvae, after) == fingerprint(vqvae, before)


def test_a_verdict_follows_the_threshold(lite0: Path) -> None:
    manifest = read_manifest(lite0)
    assert isinstance(manifest, TextureManifest)
    accepted = [verdict.accepted for verdict in rejudged(manifest.runtimes, 1300)]
    assert accepted == [True, True], "65 of 1300 bits are 5 %"
    assert [verdict.accepted for verdict in rejudged(manifest.runtimes, 1)] == [True, False]


def test_what_is_neither_model_nor_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="neither a model directory"):
        model_directories(tmp_path)
