"""Networks ready to encode patches: loaded from a directory, and run by a runtime.

One code path for every device, precision and runtime: Triton's models, the canary, the gate and the
tests all use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from slidekin_models.errors import ManifestError, PlacementError, UnjudgedRuntimeError
from slidekin_models.networks import vqvae
from slidekin_models.networks.halves import Halves, halves_of_texture, halves_of_vqvae
from slidekin_models.networks.textures import texture_architecture
from slidekin_models.runtimes.openvino_runtime import OpenVinoRuntime
from slidekin_models.runtimes.placement import REFERENCE, Placement
from slidekin_models.runtimes.torch_runtime import TorchRuntime
from slidekin_models.weights.files import load_into, load_weights
from slidekin_models.weights.foreign import load_foreign
from slidekin_models.weights.manifest import (
    FOREIGN_FILES,
    MANIFEST_NAME,
    WEIGHTS_NAME,
    NetworkManifest,
    TextureManifest,
    VqVaeManifest,
    read_yaml,
)
from slidekin_models.weights.verdicts import is_accepted


class Runtime(Protocol):
    """Runs a network."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Encode patches (n, side, side, 3); the first dimension of the answer is n."""


class PatchEncoder:
    """A network in evaluation mode that takes and returns numpy arrays.

    Args:
        halves: The network.
        placement: Where and how it runs.

    Raises:
        PlacementError: It cannot run there.
    """

    def __init__(self, halves: Halves, placement: Placement) -> None:
        for half in (halves.trunk, halves.judgement):
            # Gradients are not used here and would take memory.
            half.requires_grad_(requires_grad=False).eval()
        self._runtime = _runtime(halves, placement)
        self._step = placement.images_per_forward

    def encode(self, images: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Encode patches (n, side, side, 3) uint8; the first dimension of the answer is n."""
        starts = range(0, len(images), self._step)
        return np.concatenate([self._runtime(images[at : at + self._step]) for at in starts])

    def encode_many(self, requests: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.generic]]:
        """Encode the patches of several requests together; return one answer for each."""
        if self._step == 1:
            return [self.encode(images) for images in requests]
        answers = self.encode(np.concatenate(requests))
        ends = np.cumsum([len(images) for images in requests])
        return np.split(answers, ends[:-1])


def load_vqvae(directory: Path, placement: Placement, *, unjudged: bool = False) -> PatchEncoder:
    """Load the VQ-VAE of a model directory: images -> raw codes (n, side / 16, side / 16) uint8.

    Args:
        directory: The model directory.
        placement: Where and how it runs.
        unjudged: Allow a runtime that the gate has not accepted for these weights.

    Raises:
        ManifestError: The manifest is not valid, or was written for another version.
        PlacementError: It cannot run as the placement says.
        UnjudgedRuntimeError: The gate has not accepted the runtime.
        WeightsError: The weights are missing, altered, or another network's.
    """
    manifest = read_yaml(directory / MANIFEST_NAME, VqVaeManifest)
    if not unjudged:
        _require_accepted(directory, manifest, placement)
    return PatchEncoder(vqvae_halves(directory, manifest), placement)


def load_texture(directory: Path, placement: Placement, *, unjudged: bool = False) -> PatchEncoder:
    """Load the texture network of a model directory: images -> features (n, texture_bits) float32.

    Arguments as for :func:`load_vqvae`.

    Raises:
        ManifestError: The manifest is not valid, or was written for another version.
        PlacementError: It cannot run as the placement says.
        UnjudgedRuntimeError: The gate has not accepted the runtime.
        WeightsError: The weights are missing, altered, or another network's.
    """
    manifest = read_yaml(directory / MANIFEST_NAME, TextureManifest)
    if not unjudged:
        _require_accepted(directory, manifest, placement)
    if manifest.architecture in FOREIGN_FILES:
        return PatchEncoder(_foreign_halves(directory, manifest, placement), placement)
    return PatchEncoder(texture_halves(directory, manifest), placement)


def vqvae_halves(directory: Path, manifest: VqVaeManifest) -> Halves:
    """Load the VQ-VAE of a model directory as torch modules in evaluation mode.

    Raises:
        ManifestError: The manifest was written for another version.
        WeightsError: The weights are missing, altered, or another network's.
    """
    network = vqvae.VqVae()
    _load(network, directory, manifest, vqvae.PREPROCESSING, may_lack=("decoder",))
    return halves_of_vqvae(network.eval())


def texture_halves(directory: Path, manifest: TextureManifest) -> Halves:
    """Load the texture network of a model directory as torch modules in evaluation mode.

    Raises:
        ManifestError: The manifest was written for another version, or belongs to a user's own
            network.
        WeightsError: The weights are missing, altered, or another network's.
    """
    architecture = texture_architecture(manifest.architecture)
    if manifest.texture_bits != architecture.features:
        msg = (
            f"{directory / MANIFEST_NAME}: texture_bits: {manifest.texture_bits}, but "
            f"{manifest.architecture} gives {architecture.features}"
        )
        raise ManifestError(msg)
    network = architecture.build()
    _load(network, directory, manifest, architecture.preprocessing)
    return halves_of_texture(network.eval())


def _require_accepted(
    directory: Path, manifest: VqVaeManifest | TextureManifest, placement: Placement
) -> None:
    if (placement.runtime, placement.precision) == REFERENCE:
        return
    device = placement.device.partition(":")[0]
    wanted = (placement.runtime, placement.precision, device)
    if not is_accepted(manifest.runtimes, wanted, manifest.weights_sha256):
        msg = (
            f"{manifest.name}: {placement.runtime} in {placement.precision} on {device} was not "
            f"accepted for these weights: compare it with 'slidekin-server models gate {directory} "
            f"--slides FOLDER --runtime {placement.runtime} --precision {placement.precision}', or "
            "serve torch in fp32"
        )
        raise UnjudgedRuntimeError(msg)


def _foreign_halves(directory: Path, manifest: TextureManifest, placement: Placement) -> Halves:
    """Load a user's own network as one torch module; an ONNX file runs in OpenVINO inside it."""
    if (placement.runtime, placement.precision) != REFERENCE:
        msg = (
            f"{manifest.name}: a network of your own runs as torch in fp32, not as "
            f"{placement.runtime} in {placement.precision}"
        )
        raise PlacementError(msg)
    network = load_foreign(directory, manifest, device=placement.device, threads=placement.threads)
    return Halves(trunk=network, judgement=nn.Identity())


def _runtime(halves: Halves, placement: Placement) -> Runtime:
    if placement.runtime == "openvino":
        return OpenVinoRuntime(halves, placement)
    return TorchRuntime(halves, placement)


def _load(
    network: nn.Module,
    directory: Path,
    manifest: NetworkManifest,
    preprocessing: str,
    *,
    may_lack: tuple[str, ...] = (),
) -> None:
    if manifest.preprocessing != preprocessing:
        msg = (
            f"{directory / MANIFEST_NAME}: preprocessing: {manifest.preprocessing!r}, but this "
            f"version applies {preprocessing!r}; import or build the model again"
        )
        raise ManifestError(msg)
    weights = directory / WEIGHTS_NAME
    tensors = load_weights(weights, manifest.weights_sha256)
    load_into(network, tensors, str(weights), may_lack=may_lack)
