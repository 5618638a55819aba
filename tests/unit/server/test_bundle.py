"""Reading a model bundle: what is wrong with it is named, random weights need permission."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.unit.server.made_bundles import BITS, bundle_content, canary_answer, write_bundle
from tests.yaml_bomb import YAML_BOMB

from slidekin_server.bundle import BundleError, load_bundle
from slidekin_server.encoding.canary import Canary
from slidekin_server.encoding.triton import EncoderAnswer


def refusal(folder: Path, *, allow_random_weights: bool = False) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder, allow_random_weights=allow_random_weights)
    return str(caught.value)


def test_a_bundle_comes_in_with_all_that_the_service_needs(tmp_path: Path):
    bundle = load_bundle(write_bundle(tmp_path / "b"), allow_random_weights=False)
    assert (bundle.fingerprint, bundle.texture_bits) == ("ab" * 32, BITS)
    assert bundle.semantic_order.dtype == np.uint8
    assert bundle.semantic_order[0] == 127
    assert [one.role for one in bundle.networks] == ["vqvae", "texture"]
    assert bundle.canary.image.read_bytes().startswith(b"\x89PNG")


def test_a_missing_bundle_says_how_to_build_one(tmp_path: Path):
    assert "slidekin-server models build" in refusal(tmp_path)


def test_random_weights_need_permission(tmp_path: Path):
    networks = bundle_content()["networks"]
    networks["vqvae"]["random_weights"] = True
    folder = write_bundle(tmp_path / "b", networks=networks, random_weights=True)
    assert "vqvae (v)" in refusal(folder)
    assert "model.allow_random_weights" in refusal(folder)
    assert load_bundle(folder, allow_random_weights=True).random_weights


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"schema": 2}, "has schema 2, this service reads schema 1"),
        ({"fingerprint": "short"}, "'fingerprint'"),
        ({"texture_bits": 100}, "'texture_bits'"),
        ({"random_weights": "yes"}, "'random_weights'"),
        ({"semantic_order": [0] * 128}, "'semantic_order' must hold 0..127 once each"),
        ({"triton": {}}, "'triton.encoder_model'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changed: dict, wanted: str):
    assert wanted in refusal(write_bundle(tmp_path / "b", **changed))


def test_a_bundle_without_its_canary_is_incomplete(tmp_path: Path):
    folder = write_bundle(tmp_path / "b")
    (folder / "canary/codes.npy").unlink()
    assert "codes.npy is missing" in refusal(folder)


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path):
    (tmp_path / "bundle.yaml").write_text("a: [")
    assert "bundle.yaml cannot be read" in refusal(tmp_path)
    (tmp_path / "bundle.yaml").write_text(YAML_BOMB)
    assert "bundle.yaml cannot be read: aliases such as *a0 are not read" in refusal(tmp_path)
    (tmp_path / "bundle.yaml").write_text("- 1")
    assert "has schema None" in refusal(tmp_path)


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    return Canary.load(load_bundle(write_bundle(tmp_path / "b"), allow_random_weights=False))


def test_the_canary_takes_the_right_answer_and_what_is_near(canary: Canary):
    codes, features = canary_answer()
    assert canary.mismatch(EncoderAnswer(codes, features)) is None
    codes.flat[:4] ^= 1
    assert canary.mismatch(EncoderAnswer(codes, features * np.float32(1.5))) is None


def test_the_canary_tells_how_far_an_answer_is_off(canary: Canary):
    codes, features = canary_answer()
    wrong = codes.copy()
    wrong.flat[:5] ^= 1
    assert canary.mismatch(EncoderAnswer(wrong, features)) == "5 codes differ (at most 4 may)"
    found = canary.mismatch(EncoderAnswer(codes, -features))
    assert found is not None
    assert "texture bits differ (at most 13 may)" in found
    features[7] = np.nan
    found = canary.mismatch(EncoderAnswer(codes, features))
    assert found == "its texture features are not all finite"


@pytest.mark.parametrize("array", [np.zeros(3, np.uint8), np.zeros((64, 64), np.int64)])
def test_a_canary_of_another_shape_or_type_is_refused(tmp_path: Path, array: np.ndarray):
    folder = write_bundle(tmp_path / "b")
    np.save(folder / "canary/codes.npy", array)
    bundle = load_bundle(folder, allow_random_weights=False)
    with pytest.raises(BundleError, match=r"codes\.npy holds"):
        Canary.load(bundle)


def test_a_canary_is_never_unpickled(tmp_path: Path):
    folder = write_bundle(tmp_path / "b")
    np.save(folder / "canary/codes.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BundleError, match="cannot be read"):
        Canary.load(load_bundle(folder, allow_random_weights=False))
