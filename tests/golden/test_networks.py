"""The networks give the published programs' outputs on the golden files' weights and images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.paths import golden_dir

from slidekin_models.networks.halves import halves_of_texture, halves_of_vqvae
from slidekin_models.networks.seeded import golden_image, seeded_tensors
from slidekin_models.networks.textures import texture_architecture
from slidekin_models.networks.vqvae import VqVae
from slidekin_models.runtimes.placement import Placement
from slidekin_models.runtimes.serving import PatchEncoder
from slidekin_models.weights.files import load_into


@pytest.fixture(scope="module")
def golden() -> Path:
    folder = golden_dir()
    if folder is None:
        pytest.skip("no golden files: set SLIDEKIN_GOLDEN to their folder")
    return folder


def shapes_of(golden: Path, name: str) -> dict[str, list[int]]:
    return json.loads((golden / f"{name}.json").read_text(encoding="utf-8"))["parameters"]


@pytest.fixture(scope="module")
def vqvae(golden: Path) -> VqVae:
    network = VqVae().eval()
    load_into(network, seeded_tensors(shapes_of(golden, "vqvae")), "golden weights")
    return network


def test_vqvae_has_the_released_checkpoints_parameters(golden: Path) -> None:
    ours = {name: list(tensor.shape) for name, tensor in VqVae().state_dict().items()}
    assert ours == shapes_of(golden, "vqvae")


@pytest.mark.parametrize("side_px", [256, 1024])
def test_vqvae_codes_are_equal(golden: Path, vqvae: VqVae, side_px: int) -> None:
    encoder = PatchEncoder(halves_of_vqvae(vqvae), Placement())
    codes = encoder.encode(golden_image(side_px)[None])
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes[0], np.load(golden / "vqvae.npz")[f"codes_{side_px}"])


def test_vqvae_reconstruction_is_equal(golden: Path, vqvae: VqVae) -> None:
    with torch.inference_mode():
        reconstruction = vqvae.reconstruct(torch.from_numpy(golden_image(64)[None]))
    expected = np.load(golden / "vqvae.npz")["reconstruction_64"]
    np.testing.assert_allclose(reconstruction[0].numpy(), expected, atol=1e-5)


def test_vqvae_loss_is_equal(golden: Path, vqvae: VqVae) -> None:
    with torch.inference_mode():
        losses = vqvae.losses(torch.from_numpy(golden_image(64)[None]))
    expected = json.loads((golden / "vqvae.json").read_text(encoding="utf-8"))["loss_64"]
    for part, value in expected.items():
        assert float(getattr(losses, part)) == pytest.approx(value, rel=1e-5), part


def test_densenet121_features_and_bits_are_equal(golden: Path) -> None:
    architecture = texture_architecture("densenet121")
    network = architecture.build()
    tensors = seeded_tensors(shapes_of(golden, "densenet121"))
    load_into(network, architecture.foreign_names(tensors), "golden weights")
    encoder = PatchEncoder(halves_of_texture(network), Placement())
    features = encoder.encode(golden_image(1024)[None])[0]
    expected = np.load(golden / "densenet121.npz")
    np.testing.assert_allclose(features, expected["features"], atol=1e-5)
    rises = np.concatenate([[False], features[1:] >= features[:-1]])
    np.testing.assert_array_equal(np.packbits(rises), expected["texture"])
