"""Networks as ONNX files, for runtimes that are not served here.

A network becomes two files: the trunk, which may be computed in reduced precision, and the
judgement after it, which may not.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slidekin_models.decoding import PATCH_PX
from slidekin_models.errors import ModelError
from slidekin_models.networks.seeded import golden_image
from slidekin_models.runtimes.serving import texture_halves, vqvae_halves
from slidekin_models.weights.manifest import VqVaeManifest, read_manifest

TRUNK = "trunk.onnx"
JUDGEMENT = "judgement.onnx"
_OPSET = 18


class ExportError(ModelError):
    """The written files do not give the network's answers."""


@dataclass(frozen=True, slots=True)
class Exported:
    """Two ONNX files, and how their answers to a fixed patch compare with torch's."""

    trunk: Path
    """``PIXELS`` UINT8 (n, 1024, 1024, 3) to ``MAPS`` FP32 (n, channels, h, w)."""
    judgement: Path
    """``MAPS`` to ``CODES`` UINT8 (n, 64, 64), or to ``TEXTURE_FEATURES`` FP32 (n, bits)."""
    maps_shape: tuple[int, ...]
    """Of one patch."""
    equal: float
    """Share of equal codes; of features, the share within 0.001 of the mean feature."""


class _ForOnnx(nn.Module):
    """Converts codes through floats: TensorRT makes bytes only from those, and 0..127 are exact."""

    def __init__(self, judgement: nn.Module) -> None:
        super().__init__()
        self.judgement = judgement

    def forward(self, maps: Tensor) -> Tensor:
        answer: Tensor = self.judgement(maps)
        return answer.float().to(torch.uint8) if answer.dtype == torch.uint8 else answer


def export_onnx(directory: Path, out: Path) -> Exported:
    """Write the network of a model directory as ONNX, run it in OpenVINO, and compare with torch.

    Args:
        directory: Model directory; not of a user's own network, which is such a file already.
        out: Folder to write into.

    Raises:
        ModelError: The network cannot be read.
        ExportError: The written files give other answers.
    """
    manifest = read_manifest(directory)
    if isinstance(manifest, VqVaeManifest):
        halves = vqvae_halves(directory, manifest)
    else:
        halves = texture_halves(directory, manifest)
    out.mkdir(parents=True, exist_ok=True)
    trunk, judgement = out / TRUNK, out / JUDGEMENT
    pixels = torch.from_numpy(golden_image(PATCH_PX)[None])
    with torch.inference_mode():
        maps = halves.trunk(pixels).float()
        expected = halves.judgement(maps).numpy()
    name = "CODES" if expected.dtype == np.uint8 else "TEXTURE_FEATURES"
    _write(halves.trunk, pixels, trunk, "PIXELS", "MAPS")
    _write(_ForOnnx(halves.judgement).eval(), maps, judgement, "MAPS", name)
    equal = _equal(expected, _read_back(trunk, judgement, pixels.numpy()))
    if equal < 0.999:
        msg = f"{out}: the exported network agrees with torch in {equal:.2%} of its answers only"
        raise ExportError(msg)
    return Exported(trunk, judgement, tuple(maps.shape[1:]), equal)


def _write(module: nn.Module, example: Tensor, path: Path, given: str, gives: str) -> None:
    # The exporter prints much on standard output, and warns about itself.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Two examples: with one, the exporter would treat the batch size as a constant.
        torch.onnx.export(
            module,
            (torch.cat([example, example]),),
            path,
            input_names=[given],
            output_names=[gives],
            dynamic_shapes=({0: torch.export.Dim("n", min=1, max=64)},),
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    import onnx  # noqa: PLC0415 (heavy, and needed only here)

    onnx.checker.check_model(path, full_check=True)


def _read_back(trunk: Path, judgement: Path, pixels: NDArray[np.uint8]) -> NDArray[np.generic]:
    import openvino  # noqa: PLC0415 (likewise)

    core = openvino.Core()
    answer = pixels
    for path in (trunk, judgement):
        answer = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([answer])[0]
    return np.asarray(answer)


def _equal(expected: NDArray[np.generic], found: NDArray[np.generic]) -> float:
    if expected.dtype == np.uint8:
        return float((expected == found).mean())
    wanted = expected.astype(np.float64)
    return float(
        (np.abs(wanted - found.astype(np.float64)) <= 0.001 * np.abs(wanted).mean()).mean()
    )
