from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from slidekin_models.errors import ManifestError, WeightsError
from slidekin_models.networks.seeded import seeded_tensors
from slidekin_models.networks.semantic import principal_order
from slidekin_models.networks.synthetic import stained_pictures
from slidekin_models.networks.vqvae import VqVae
from slidekin_models.runtimes.placement import Placement
from slidekin_models.runtimes.serving import load_texture, load_vqvae
from slidekin_models.weights import directories
from slidekin_models.weights.files import load_into, load_weights, read_published, save_weights
from slidekin_models.weights.manifest import TextureManifest, VqVaeManifest, read_yaml, write_yaml


class Hostile:
    """Runs a command where it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


def test_a_hostile_checkpoint_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    torch.save({"model": Hostile(witness)}, tmp_path / "model_9.pt")
    with pytest.raises(WeightsError, match=r"model_9\.pt: refused"):
        directories.import_released_vqvae(tmp_path / "model_9.pt", tmp_path / "out")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Hostile(witness)))
    with pytest.raises(WeightsError, match=r"plain\.pt"):
        read_published(tmp_path / "plain.pt")
    assert not witness.exists()
    assert not (tmp_path / "out").exists()


def test_a_truncated_checkpoint_is_named(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(1000)}}, tmp_path / "whole.pt")
    (tmp_path / "part.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:1500])
    with pytest.raises(WeightsError, match=r"part\.pt"):
        read_published(tmp_path / "part.pt")
    with pytest.raises(WeightsError, match=r"none\.pt: cannot be read"):
        read_published(tmp_path / "none.pt")


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"encoder.0.weight": torch.zeros(3)}}, tmp_path / "model_9.pt")
    with pytest.raises(WeightsError, match="not the weights of this network"):
        directories.import_released_vqvae(tmp_path / "model_9.pt", tmp_path / "out")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match="under the key 'model'"):
        directories.import_released_vqvae(tmp_path / "list.pt", tmp_path / "out")


def released_vqvae(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    shapes = {name: tensor.shape for name, tensor in VqVae().state_dict().items()}
    tensors = seeded_tensors(shapes)
    path = tmp_path / "model_9.pt"
    torch.save({"model": {f"module.{n}": t for n, t in tensors.items()}, "epoch": 9}, path)
    return path, tensors


def test_the_released_checkpoint_and_its_order_are_taken_over(tmp_path: Path) -> None:
    path, tensors = released_vqvae(tmp_path)
    order = {old: 127 - old for old in range(128)}
    torch.save(order, tmp_path / "codebook_semantic.pt")
    out = tmp_path / "out"
    manifest = directories.import_released_vqvae(path, out, tmp_path / "codebook_semantic.pt")
    assert manifest == read_yaml(out / "manifest.yaml", VqVaeManifest)
    assert manifest.semantic_order == list(reversed(range(128)))
    assert not manifest.random_weights
    stored = load_weights(out / "weights.safetensors", manifest.weights_sha256)
    for name, tensor in tensors.items():
        assert torch.equal(stored[name].float(), tensor), name


def test_without_a_released_order_the_codebook_gives_one(tmp_path: Path) -> None:
    path, tensors = released_vqvae(tmp_path)
    manifest = directories.import_released_vqvae(path, tmp_path / "out")
    codebook = tensors["codebook.embedding.weight"].numpy()
    assert manifest.semantic_order == principal_order(codebook)


def test_an_order_that_is_no_permutation_is_refused(tmp_path: Path) -> None:
    path, _ = released_vqvae(tmp_path)
    torch.save(dict.fromkeys(range(128), 5), tmp_path / "codebook_semantic.pt")
    with pytest.raises(WeightsError, match=r"codebook_semantic\.pt: does not hold a permutation"):
        directories.import_released_vqvae(path, tmp_path / "out", tmp_path / "codebook_semantic.pt")


def test_altered_weights_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    sha256 = save_weights({"a": torch.ones(4)}, path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged or another one"):
        load_weights(path, sha256)


def test_equal_tensors_give_equal_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.ones(4), "a": torch.zeros(2, 2)}
    first = save_weights(tensors, tmp_path / "1.safetensors")
    second = save_weights(dict(reversed(tensors.items())), tmp_path / "2.safetensors")
    assert first == second


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("preprocessing", "rgb8-1024/mean0-v0", "preprocessing: 'rgb8-1024/mean0-v0'"),
        ("texture_bits", 1024, "texture_bits: 1024, but efficientnet-lite0 gives 1280"),
        ("architecture", "vgg", "no texture network is called 'vgg'"),
    ],
)
def test_a_manifest_that_does_not_fit_this_version_is_refused(
    tmp_path: Path, lite0: Path, key: str, value: object, message: str
) -> None:
    manifest = read_yaml(lite0 / "manifest.yaml", TextureManifest)
    write_yaml(manifest.model_copy(update={key: value}), tmp_path / "manifest.yaml")
    with pytest.raises(ManifestError, match=message):
        load_texture(tmp_path, Placement())


def test_half_precision_is_rounded_once_and_computed_with_in_full(tmp_path: Path) -> None:
    _, tensors = released_vqvae(tmp_path)
    said = {"name": "v", "source": "here", "licence": "MIT", "random_weights": True}
    full = directories.write_vqvae(tmp_path / "full", tensors, **said)
    half = directories.write_vqvae(tmp_path / "half", tensors, half=True, decoder=False, **said)
    rounded = {
        name: tensor.half().float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    as_full = directories.write_vqvae(tmp_path / "rounded", rounded, **said)
    assert len({full.weights_sha256, half.weights_sha256, as_full.weights_sha256}) == 3
    assert half.semantic_order == as_full.semantic_order
    sizes = [(tmp_path / name / "weights.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.3 * sizes[1]
    images = stained_pictures(2, 64, seed=3)
    codes = [
        load_vqvae(tmp_path / name, Placement()).encode(images) for name in ("half", "rounded")
    ]
    np.testing.assert_array_equal(*codes)


def test_a_weight_beyond_half_precision_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"b: holds weights too large for half precision"):
        save_weights({"a": torch.ones(1), "b": torch.tensor([1e5])}, tmp_path / "w", half=True)


def test_a_part_of_the_network_is_absent_as_a_whole_or_not_at_all() -> None:
    tensors = VqVae().state_dict()
    encoder = {name: t for name, t in tensors.items() if not name.startswith("decoder.")}
    load_into(VqVae(), encoder, "here", may_lack=("decoder",))
    with pytest.raises(WeightsError, match=r"decoder\..* is missing"):
        load_into(VqVae(), encoder, "here")
    some = encoder | {"decoder.0.net.0.bias": tensors["decoder.0.net.0.bias"]}
    with pytest.raises(WeightsError, match=r"decoder\..* is missing"):
        load_into(VqVae(), some, "here", may_lack=("decoder",))
