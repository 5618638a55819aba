"""Networks ready to encode patches: loaded from a directory, placed on a device.

One code path for every device, precision and runtime; Triton's models, the canary and the tests
all come through here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slidekin_models import vqvae
from slidekin_models.errors import ManifestError, PlacementError
from slidekin_models.manifest import (
    MANIFEST_NAME,
    WEIGHTS_NAME,
    NetworkManifest,
    TextureManifest,
    VqVaeManifest,
    read_yaml,
)
from slidekin_models.textures import texture_architecture
from slidekin_models.weights import load_into, load_weights

PRECISIONS = ("fp32",)
RUNTIMES = ("torch",)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a network runs."""

    device: str = "cpu"
    """``cpu``, or ``cuda:N``."""
    precision: str = "fp32"
    runtime: str = "torch"
    threads: int = 0
    """Threads of one network's operators on the CPU; 0 leaves torch's own choice."""
    images_per_forward: int = 1
    """A CPU gains nothing from larger steps, and one 1024 px patch already takes 0.6 GB in the
    VQ-VAE's first layers; a result then also never depends on its neighbours in the batch."""

    def __post_init__(self) -> None:
        """Refuse what is not served.

        Raises:
            PlacementError: Names the value and what may stand there.
        """
        for key, value, known in (
            ("precision", self.precision, PRECISIONS),
            ("runtime", self.runtime, RUNTIMES),
        ):
            if value not in known:
                msg = f"{key}: {value!r} is not served; known are {', '.join(known)}"
                raise PlacementError(msg)
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            msg = f"device: {self.device} was asked for, but torch sees no GPU; use cpu"
            raise PlacementError(msg)
        if self.images_per_forward < 1:
            msg = f"images_per_forward: {self.images_per_forward} is less than 1"
            raise PlacementError(msg)


class PatchEncoder:
    """A network in evaluation mode that takes and gives numpy arrays."""

    def __init__(
        self, network: nn.Module, encode: Callable[[Tensor], Tensor], placement: Placement
    ) -> None:
        if placement.threads:
            torch.set_num_threads(placement.threads)
        # "fp32" means it: TF32 would round the products to 10 bits.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        # Gradients would double the memory of nothing that is used here.
        network.requires_grad_(requires_grad=False)
        network.eval().to(placement.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._encode = encode
        self._placement = placement

    def encode(self, images: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Encode patches (n, side, side, 3) uint8; the first dimension of the answer is n."""
        step = self._placement.images_per_forward
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), step):
                batch = torch.from_numpy(images[start : start + step]).to(self._placement.device)
                parts.append(self._encode(batch).cpu().numpy())
        return np.concatenate(parts)

    def encode_many(self, requests: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.generic]]:
        """Encode the patches of several requests together, and give each its own answer."""
        if self._placement.images_per_forward == 1:
            return [self.encode(images) for images in requests]
        answers = self.encode(np.concatenate(requests))
        ends = np.cumsum([len(images) for images in requests])
        return np.split(answers, ends[:-1])


def load_vqvae(directory: Path, placement: Placement) -> PatchEncoder:
    """The VQ-VAE of a model directory, as images -> raw codes (n, side / 16, side / 16) uint8.

    Raises:
        ManifestError: The manifest is not valid, or was written for another version.
        WeightsError: The weights are missing, altered, or another network's.
    """
    manifest = read_yaml(directory / MANIFEST_NAME, VqVaeManifest)
    network = vqvae.VqVae()
    _load(network, directory, manifest, vqvae.PREPROCESSING)
    return PatchEncoder(network, network.codes, placement)


def load_texture(directory: Path, placement: Placement) -> PatchEncoder:
    """The texture network of a model directory, as images -> features (n, texture_bits) float32.

    Raises:
        ManifestError: The manifest is not valid, or was written for another version.
        WeightsError: The weights are missing, altered, or another network's.
    """
    manifest = read_yaml(directory / MANIFEST_NAME, TextureManifest)
    architecture = texture_architecture(manifest.architecture)
    if manifest.texture_bits != architecture.features:
        msg = (
            f"{directory / MANIFEST_NAME}: texture_bits: {manifest.texture_bits}, but "
            f"{manifest.architecture} gives {architecture.features}"
        )
        raise ManifestError(msg)
    network = architecture.build()
    _load(network, directory, manifest, architecture.preprocessing)
    return PatchEncoder(network, network, placement)


def _load(
    network: nn.Module, directory: Path, manifest: NetworkManifest, preprocessing: str
) -> None:
    if manifest.preprocessing != preprocessing:
        msg = (
            f"{directory / MANIFEST_NAME}: preprocessing: {manifest.preprocessing!r}, but this "
            f"version applies {preprocessing!r}; import or build the model again"
        )
        raise ManifestError(msg)
    weights = directory / WEIGHTS_NAME
    load_into(network, load_weights(weights, manifest.weights_sha256), str(weights))


def placement_in_triton(parameters: Mapping[str, str], kind: str, device_id: str) -> Placement:
    """The placement that a Triton model's configuration asks for.

    Args:
        parameters: ``precision``, ``runtime``, ``threads``, ``images_per_forward``, as text;
            0 threads are half of the cores, since two networks share them.
        kind: Of the model instance: ``CPU`` or ``GPU``.
        device_id: Number of the instance's GPU.
    """
    return Placement(
        device=f"cuda:{device_id}" if kind == "GPU" else "cpu",
        precision=parameters["precision"],
        runtime=parameters["runtime"],
        threads=int(parameters["threads"]) or _half_of_the_cores(),
        images_per_forward=int(parameters["images_per_forward"]),
    )


def _half_of_the_cores() -> int:
    """More threads than cores cost dearly: they wait for each other in busy loops.

    On two cores a patch costs both networks 2.1 s of processor time with one thread each, and
    3.4 s with two.
    """
    return max(1, len(os.sched_getaffinity(0)) // 2)
