"""Texture networks of the user's own: any TorchScript or ONNX file that turns images into vectors.

A TorchScript file is a program: it is run only after the operator imported it explicitly, and only
from a model directory whose manifest pins its SHA-256. An ONNX file is a graph of known operators.

TorchScript runs in torch; ONNX runs in OpenVINO, on the CPU.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from slidekin_models.errors import ManifestError, PlacementError, WeightsError
from slidekin_models.networks.pixels import PixelRule
from slidekin_models.weights.files import require_sha256
from slidekin_models.weights.manifest import MANIFEST_NAME, TextureManifest, network_file


class ForeignTexture(nn.Module):
    """A user's own network with the interface of the built-in texture networks."""

    _mean: Tensor
    _std: Tensor

    def __init__(self, network: nn.Module, rule: PixelRule, bits: int) -> None:
        super().__init__()
        self.network = network
        self._rule = rule
        self._bits = bits
        self.register_buffer("_mean", torch.tensor(rule.mean).reshape(1, -1, 1, 1))
        self.register_buffer("_std", torch.tensor(rule.std).reshape(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Features of patches.

        Args:
            images: Shape (n, side, side, 3), uint8 RGB.

        Returns:
            Shape (n, bits), float32.

        Raises:
            WeightsError: The network does not return vectors of ``bits`` numbers.
        """
        squares = self._squares(images.permute(0, 3, 1, 2).float().div_(255))
        vectors = vectors_of(self.network, squares.sub_(self._mean).div_(self._std))
        if vectors.shape[1] != self._bits:
            msg = f"the network gives {vectors.shape[1]} numbers, its manifest says {self._bits}"
            raise WeightsError(msg)
        return vectors.reshape(len(images), -1, self._bits).mean(dim=1)

    def _squares(self, pixels: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1] to (n * squares, 3, side_px, side_px), squares row by row."""
        side = self._rule.side_px
        per_edge = 1 if self._rule.resize == "whole" else max(1, round(pixels.shape[-1] / side))
        edge = per_edge * side
        if pixels.shape[-1] != edge:
            pixels = functional.interpolate(
                pixels, size=(edge, edge), mode="bicubic", antialias=True
            ).clamp_(0, 1)  # bicubic overshoots at edges
        rows = pixels.unfold(2, side, side).unfold(3, side, side)
        return rows.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, side, side)


class OnnxNetwork(nn.Module):
    """An ONNX file, compiled by OpenVINO for the CPU in float32.

    Images are run one by one: on a CPU batches gain nothing, and files that were exported for one
    image work as well.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        super().__init__()
        # Imported here, so that users without such a file need not wait for it.
        import openvino  # noqa: PLC0415

        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            model = openvino.Core().read_model(path)
            if len(model.inputs) != 1 or len(model.outputs) != 1:
                msg = (
                    f"{path}: has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
                    "export it with one of each, images and their vectors"
                )
                raise WeightsError(msg)
            self._compiled = openvino.compile_model(model, "CPU", options)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            msg = (
                f"{path}: OpenVINO cannot use it ({reason}): export it as one ONNX file with "
                "its weights inside (external_data=False)"
            )
            raise WeightsError(msg) from error

    def forward(self, pixels: Tensor) -> Tensor:
        """Run images of shape (n, 3, side_px, side_px), float32; return the network's outputs."""
        images = pixels.detach().cpu().contiguous().numpy()
        answers = [self._compiled(image[None])[0] for image in images]
        return torch.from_numpy(np.concatenate(answers)).to(pixels.device)


def load_foreign(
    directory: Path, manifest: TextureManifest, *, device: str = "cpu", threads: int = 0
) -> ForeignTexture:
    """Load the network of a model directory whose manifest says ``torchscript`` or ``onnx``.

    Args:
        directory: The model directory.
        manifest: Its manifest.
        device: Device to run on; used for messages, since torch places TorchScript itself.
        threads: Threads of OpenVINO, for ONNX; 0: its own choice.

    Raises:
        PlacementError: The device of an ONNX network is a GPU.
        WeightsError: The file is missing, altered, or cannot be read.
    """
    if manifest.pixels is None:
        msg = f"{directory / MANIFEST_NAME}: pixels: missing"
        raise ManifestError(msg)
    path = directory / network_file(manifest)
    require_sha256(path, manifest.weights_sha256)
    if manifest.architecture == "onnx" and device != "cpu":
        msg = f"{manifest.name}: an ONNX file runs on the CPU; for {device} import TorchScript"
        raise PlacementError(msg)
    network = _READERS[manifest.architecture](path, threads)
    return ForeignTexture(network, manifest.pixels, manifest.texture_bits)


def read_network(path: Path, architecture: str) -> nn.Module:
    """Read a file that has no manifest yet, for its import. TorchScript may run its code.

    Raises:
        WeightsError: The file cannot be read as this architecture.
    """
    return _READERS[architecture](path, 0)


def vectors_of(network: nn.Module, pixels: Tensor) -> Tensor:
    """Run ``network`` on pixels (n, 3, side_px, side_px); return (n, numbers) float32.

    Raises:
        WeightsError: It fails, or does not return one vector for each image.
    """
    try:
        answer = network(pixels)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        msg = (
            f"the network does not take {len(pixels)} images of shape {tuple(pixels.shape[1:])}: "
            f"{reason}"
        )
        raise WeightsError(msg) from error
    if not isinstance(answer, Tensor):
        msg = (
            f"the network gives a {type(answer).__name__}, not one tensor: export a wrapper that "
            "returns the vector alone"
        )
        raise WeightsError(msg)
    if answer.ndim != 2 or len(answer) != len(pixels):
        msg = (
            f"the network gives shape {tuple(answer.shape)} for {len(pixels)} images; a texture "
            "network gives (images, numbers): export it with its pooling, or with its class token"
        )
        raise WeightsError(msg)
    return answer.float()


def _read_torchscript(path: Path, threads: int) -> nn.Module:
    del threads  # a setting of torch, made by the caller that places the network
    try:
        with warnings.catch_warnings():
            # The documentation says that TorchScript is deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            network: nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        msg = f"{path}: cannot be read as TorchScript: {reason}"
        raise WeightsError(msg) from error
    return network.eval()


_READERS: dict[str, Callable[[Path, int], nn.Module]] = {
    "torchscript": _read_torchscript,
    "onnx": OnnxNetwork,
}
