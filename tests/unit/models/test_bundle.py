from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from slidekin_models.bundles.bundle import build_bundle, read_bundle, verify_bundle
from slidekin_models.cli import app
from slidekin_models.decoding import decode_patch
from slidekin_models.errors import ManifestError, RandomWeightsRefusedError, WeightsError
from slidekin_models.networks.seeded import golden_image
from slidekin_models.networks.synthetic import stained_pictures
from slidekin_models.runtimes.placement import Placement
from slidekin_models.runtimes.serving import load_vqvae
from slidekin_models.weights.fingerprint import fingerprint
from slidekin_models.weights.manifest import TextureManifest, VqVaeManifest, read_yaml, write_yaml


def write_config(path: Path, content: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def by_manifest(bundle: Path) -> dict[str, object]:
    return {
        "vqvae": {"manifest": str(bundle / "vqvae" / "manifest.yaml")},
        "texture": {"manifest": str(bundle / "texture" / "manifest.yaml")},
    }


def test_the_bundle_says_all_that_a_service_needs(demo_bundle: Path) -> None:
    said = yaml.safe_load((demo_bundle / "bundle.yaml").read_text(encoding="utf-8"))
    assert said["schema"] == 1
    assert len(said["fingerprint"]) == 64
    assert said["random_weights"] is True
    assert said["networks"]["vqvae"]["random_weights"] is True
    assert said["networks"]["texture"]["random_weights"] is False
    assert said["texture_bits"] == 1280
    assert said["hamming_threshold_bits"] == said["networks"]["texture"]["hamming_threshold_bits"]
    assert sorted(said["semantic_order"]) == list(range(128))
    assert said["triton"]["encoder_model"] == "patch_encoder"
    assert verify_bundle(demo_bundle) == read_bundle(demo_bundle)


def test_the_canary_is_a_patch_with_its_codes_and_features(demo_bundle: Path) -> None:
    said = read_bundle(demo_bundle)
    pixels = decode_patch((demo_bundle / said.canary.image).read_bytes())
    np.testing.assert_array_equal(pixels, golden_image(1024))
    codes = np.load(demo_bundle / said.canary.codes)
    assert (codes.shape, codes.dtype) == ((64, 64), np.uint8)
    features = np.load(demo_bundle / said.canary.texture_features)
    assert (features.shape, features.dtype) == ((said.texture_bits,), np.float32)


def test_random_codewords_are_used_widely(demo_bundle: Path) -> None:
    encoder = load_vqvae(demo_bundle / "vqvae", Placement())
    codes = encoder.encode(stained_pictures(6, 256, seed=77))
    share = np.bincount(codes.ravel(), minlength=128) / codes.size
    share = share[share > 0]
    assert np.exp(-(share * np.log(share)).sum()) > 20


@pytest.mark.parametrize("network", ["vqvae", "texture"])
def test_random_weights_are_refused_unless_allowed_by_name(tmp_path: Path, network: str) -> None:
    choice: dict[str, object] = {
        "vqvae": {"manifest": "v/manifest.yaml"},
        "texture": {"package": "efficientnet-lite0"},
        network: {"random": {"seed": 0}},
    }
    if network == "texture":
        choice["texture"] = {"random": {"seed": 0, "architecture": "densenet121"}}
    config = write_config(tmp_path / "models.yaml", choice)
    with pytest.raises(RandomWeightsRefusedError, match="allow_random_weights: true"):
        build_bundle(config, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_random_weights_from_a_manifest_are_refused_likewise(
    tmp_path: Path, demo_bundle: Path
) -> None:
    config = write_config(tmp_path / "models.yaml", by_manifest(demo_bundle))
    with pytest.raises(RandomWeightsRefusedError, match="vqvae-random-0"):
        build_bundle(config, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == [config]


def test_a_bundle_of_the_same_pair_stands_and_another_is_not_overwritten(
    tmp_path: Path, demo_bundle: Path
) -> None:
    out = tmp_path / "bundle"
    choice = by_manifest(demo_bundle) | {"allow_random_weights": True}
    config = write_config(tmp_path / "models.yaml", choice)
    built = build_bundle(config, out)
    assert built == read_bundle(demo_bundle)
    stamp = (out / "bundle.yaml").stat().st_mtime_ns
    build_bundle(config, out)
    assert (out / "bundle.yaml").stat().st_mtime_ns == stamp

    changed = tmp_path / "changed"
    shutil.copytree(demo_bundle / "vqvae", changed)
    manifest = read_yaml(changed / "manifest.yaml", VqVaeManifest)
    order = list(reversed(manifest.semantic_order))
    write_yaml(manifest.model_copy(update={"semantic_order": order}), changed / "manifest.yaml")
    choice["vqvae"] = {"manifest": "changed/manifest.yaml"}
    write_config(config, choice)
    with pytest.raises(ManifestError, match="--replace"):
        build_bundle(config, out)
    assert read_bundle(out) == built
    replaced = build_bundle(config, out, replace=True)
    assert replaced.fingerprint != built.fingerprint
    assert read_bundle(out) == replaced


def test_altered_weights_in_a_bundle_are_noticed(tmp_path: Path, demo_bundle: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(demo_bundle, copy)
    weights = copy / "texture" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(WeightsError, match="texture/weights"):
        verify_bundle(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vqvae": {}}, "vqvae: .*needs exactly one of manifest, shipped, random"),
        ({"vqvae": {"random": {"seed": -1}}}, r"vqvae\.random\.seed"),
        ({"texture": {"package": "resnet"}}, "'resnet' is not known"),
        ({"texture": {"manifest": "none.yaml"}}, r"none\.yaml: cannot be read"),
        ({"allow_random": True}, "allow_random"),
    ],
)
def test_a_fault_in_the_configuration_is_named(
    tmp_path: Path, demo_bundle: Path, change: dict[str, object], message: str
) -> None:
    choice = by_manifest(demo_bundle) | {"allow_random_weights": True} | change
    config = write_config(tmp_path / "models.yaml", choice)
    with pytest.raises(ManifestError, match=message):
        build_bundle(config, tmp_path / "bundle")


def test_the_command_reports_errors_in_one_line(tmp_path: Path) -> None:
    config = write_config(
        tmp_path / "models.yaml",
        {"vqvae": {"random": {"seed": 0}}, "texture": {"package": "efficientnet-lite0"}},
    )
    options = ["build", "--config", str(config), "--out", str(tmp_path / "bundle")]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_the_fingerprint_changes_with_whatever_changes_a_code(demo_bundle: Path) -> None:
    vqvae = read_yaml(demo_bundle / "vqvae" / "manifest.yaml", VqVaeManifest)
    texture = read_yaml(demo_bundle / "texture" / "manifest.yaml", TextureManifest)
    deciding_vqvae: list[dict[str, object]] = [
        {"weights_sha256": "0" * 64},
        {"preprocessing": "v2"},
        {"semantic_order": list(range(128))},
    ]
    deciding_texture: list[dict[str, object]] = [
        {"weights_sha256": "0" * 64},
        {"preprocessing": "v2"},
        {"architecture": "densenet121"},
    ]
    prints = {fingerprint(vqvae, texture)}
    prints |= {fingerprint(vqvae.model_copy(update=u), texture) for u in deciding_vqvae}
    prints |= {fingerprint(vqvae, texture.model_copy(update=u)) for u in deciding_texture}
    assert len(prints) == 7


def test_the_fingerprint_does_not_change_with_names_and_notes(demo_bundle: Path) -> None:
    vqvae = read_yaml(demo_bundle / "vqvae" / "manifest.yaml", VqVaeManifest)
    texture = read_yaml(demo_bundle / "texture" / "manifest.yaml", TextureManifest)
    renamed = texture.model_copy(
        update={"name": "x", "threshold_note": "y", "hamming_threshold_bits": 7}
    )
    assert fingerprint(vqvae, renamed) == fingerprint(vqvae, texture)
