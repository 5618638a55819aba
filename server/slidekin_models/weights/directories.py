"""Model directories: a manifest and its weights, written from any source of weights."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slidekin_models.errors import ManifestError, WeightsError
from slidekin_models.networks import untrained, vqvae
from slidekin_models.networks.semantic import principal_order
from slidekin_models.networks.textures import texture_architecture
from slidekin_models.weights.files import load_into, read_published, save_weights, sha256_of
from slidekin_models.weights.manifest import (
    MANIFEST_NAME,
    WEIGHTS_NAME,
    TextureManifest,
    VqVaeManifest,
    write_yaml,
)
from slidekin_models.weights.packaged import Judged, PackagedTexture

DENSENET121_SHA256_PREFIX = "a639ec97"
"""Of torchvision's ImageNet weights: by its convention, a file's name ends with the first eight
hexadecimal digits of its SHA-256."""

_CODEWORDS = "codebook.embedding.weight"
_DECODER = "decoder"
_SISH_NOTE = "as published with SISH: 12.5 % of the bits"


def write_random_vqvae(directory: Path, seed: int) -> VqVaeManifest:
    """Write an untrained VQ-VAE."""
    return write_vqvae(
        directory,
        untrained.random_vqvae(seed),
        name=f"vqvae-random-{seed}",
        source=f"random weights, seed {seed}; codewords from drawn pictures",
        licence="Apache-2.0",
        random_weights=True,
    )


def write_random_texture(directory: Path, architecture: str, seed: int) -> TextureManifest:
    """Write an untrained texture network; its threshold is SISH's 12.5 %."""
    bits = texture_architecture(architecture).features
    return _write_texture(
        directory,
        architecture,
        untrained.random_texture(architecture, seed),
        name=f"{architecture}-random-{seed}",
        source=f"random weights, seed {seed}",
        licence="Apache-2.0",
        random_weights=True,
        hamming_threshold_bits=bits // 8,
        threshold_note="not calibrated: 12.5 % of the bits, for weights that learned nothing",
    )


def import_released_vqvae(
    checkpoint: Path, directory: Path, semantic_order: Path | None = None
) -> VqVaeManifest:
    """Turn the published ``model_9.pt`` and ``codebook_semantic.pt`` into a model directory.

    Args:
        checkpoint: A file of ``torch.save`` with the parameters under ``model``.
        directory: The directory to write.
        semantic_order: A file of ``torch.save`` with a dict old -> new; without it, the order
            follows the codebook's first principal component.

    Raises:
        WeightsError: A file is missing, damaged, hostile, or holds something else.
    """
    content = read_published(checkpoint)
    parameters = content.get("model") if isinstance(content, dict) else None
    tensors = _tensors(parameters, checkpoint, "a dict of parameters under the key 'model'")
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return write_vqvae(
        directory,
        tensors,
        name="vqvae-sish",
        source=f"published SISH checkpoint {checkpoint.name}",
        licence="none stated for the weights; the published program is GPL-3.0",
        random_weights=False,
        semantic_order=_released_order(semantic_order) if semantic_order else None,
    )


def import_densenet121(checkpoint: Path, directory: Path) -> TextureManifest:
    """Turn a DenseNet-121 in torchvision's layout into a model directory.

    The digest identifies the file that torchvision publishes. Another file (trained further, for
    instance) is accepted too, and its manifest says that it is not the published one.

    Raises:
        ManifestError: The directory is not empty.
        WeightsError: The file is missing, damaged, hostile, or holds something else.
    """
    tensors = _tensors(read_published(checkpoint), checkpoint, "a dict of parameters")
    digest = sha256_of(checkpoint)
    published = digest.startswith(DENSENET121_SHA256_PREFIX)
    return _write_texture(
        directory,
        "densenet121",
        texture_architecture("densenet121").foreign_names(tensors),
        name="densenet121-imagenet" if published else f"densenet121-{digest[:8]}",
        source=(
            f"torchvision densenet121-{DENSENET121_SHA256_PREFIX}.pth (ImageNet-1k)"
            if published
            else f"{checkpoint.name} (SHA-256 {digest[:16]}...), not the file torchvision publishes"
        ),
        licence="BSD-3-Clause" if published else "not stated",
        random_weights=False,
        hamming_threshold_bits=128,
        threshold_note=_SISH_NOTE,
    )


def write_packaged_texture(directory: Path, package: PackagedTexture) -> TextureManifest:
    """Write a texture network whose weights are in an installed package.

    Raises:
        WeightsError: The package's file does not have the known digest.
    """
    checkpoint = package.path()
    found = sha256_of(checkpoint)
    if found != package.sha256:
        msg = f"{checkpoint}: SHA-256 is {found}, not {package.sha256}: install it again"
        raise WeightsError(msg)
    tensors = _tensors(read_published(checkpoint), checkpoint, "a dict of parameters")
    return _write_texture(
        directory,
        package.architecture,
        texture_architecture(package.architecture).foreign_names(tensors),
        name=package.name,
        source=package.source,
        licence=package.licence,
        random_weights=False,
        hamming_threshold_bits=package.hamming_threshold_bits,
        threshold_note=package.threshold_note,
        judged=package.judged,
    )


def _tensors(content: Any, source: Path, wanted: str) -> Mapping[str, Tensor]:  # noqa: ANN401
    if isinstance(content, dict) and content:
        tensors = {n: t for n, t in content.items() if isinstance(n, str) and torch.is_tensor(t)}
        if len(tensors) == len(content):
            return tensors
    msg = f"{source}: does not hold {wanted}"
    raise WeightsError(msg)


def _released_order(path: Path) -> list[int]:
    content = read_published(path)
    codes = list(range(vqvae.CODEBOOK_SIZE))
    if isinstance(content, dict):
        order = {int(old): int(new) for old, new in content.items()}
        if sorted(order) == codes and sorted(order.values()) == codes:
            return [order[old] for old in codes]
    msg = f"{path}: does not hold a permutation of 0..{codes[-1]} as a dict old -> new"
    raise WeightsError(msg)


def write_vqvae(
    directory: Path,
    tensors: Mapping[str, Tensor],
    *,
    name: str,
    source: str,
    licence: str,
    random_weights: bool,
    semantic_order: list[int] | None = None,
    half: bool = False,
    decoder: bool = True,
) -> VqVaeManifest:
    """Write the model directory of a VQ-VAE.

    Args:
        directory: The directory to write; missing or empty.
        tensors: Parameters under the published checkpoint's names; the decoder may be absent.
        name: Name of these weights, for people.
        source: Where they come from.
        licence: SPDX identifier, or the publisher's own words.
        random_weights: Whether they are untrained.
        semantic_order: ``semantic_order[old] = new``; without it, the order follows the codebook's
            first principal component.
        half: Store in half precision.
        decoder: Store the decoder, which only training and reconstructions need.

    Raises:
        ManifestError: The directory is not empty.
        WeightsError: The tensors belong to another network.
    """
    network = vqvae.VqVae()
    load_into(network, tensors, source, may_lack=(_DECODER,))
    has_decoder = any(n.startswith(f"{_DECODER}.") for n in tensors)
    stored = {
        n: t
        for n, t in network.state_dict().items()
        if (decoder and has_decoder) or not n.startswith(f"{_DECODER}.")
    }
    codewords = stored[_CODEWORDS].half().float() if half else stored[_CODEWORDS]
    with new_directory(directory) as made:
        manifest = VqVaeManifest(
            name=name,
            architecture="vqvae",
            source=source,
            licence=licence,
            weights_sha256=save_weights(stored, made / WEIGHTS_NAME, half=half),
            preprocessing=vqvae.PREPROCESSING,
            random_weights=random_weights,
            semantic_order=semantic_order or principal_order(codewords.numpy()),
        )
        write_yaml(manifest, made / MANIFEST_NAME)
    return manifest


def _write_texture(
    directory: Path,
    architecture: str,
    tensors: Mapping[str, Tensor],
    *,
    name: str,
    source: str,
    licence: str,
    random_weights: bool,
    hamming_threshold_bits: int,
    threshold_note: str,
    judged: tuple[Judged, ...] = (),
) -> TextureManifest:
    known = texture_architecture(architecture)
    network = known.build()
    load_into(network, tensors, source)
    with new_directory(directory) as made:
        digest = save_weights(network.state_dict(), made / WEIGHTS_NAME)
        manifest = TextureManifest(
            name=name,
            architecture=architecture,
            source=source,
            licence=licence,
            weights_sha256=digest,
            preprocessing=known.preprocessing,
            random_weights=random_weights,
            texture_bits=known.features,
            hamming_threshold_bits=hamming_threshold_bits,
            threshold_note=threshold_note,
            runtimes=[one.verdict(digest) for one in judged],
        )
        write_yaml(manifest, made / MANIFEST_NAME)
    return manifest


@contextmanager
def new_directory(directory: Path) -> Iterator[Path]:
    """Yield a scratch directory that replaces ``directory`` once everything is written.

    Raises:
        ManifestError: ``directory`` is not empty.
    """
    require_free(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{directory.name}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=directory.parent) as scratch:
        made = Path(scratch) / "model"
        made.mkdir()
        yield made
        made.rename(directory)


def require_free(directory: Path) -> None:
    """Refuse to write a model to a directory that is not empty.

    Raises:
        ManifestError: ``directory`` is not empty.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        msg = f"{directory}: holds something already: name another directory, or remove it"
        raise ManifestError(msg)
