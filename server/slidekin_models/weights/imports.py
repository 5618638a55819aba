"""Imports weights from files: recognises a file, and makes a model directory from it."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch
from torch import nn

from slidekin_models.errors import WeightsError
from slidekin_models.networks.pixels import PixelRule
from slidekin_models.networks.synthetic import stained_pictures
from slidekin_models.weights import directories
from slidekin_models.weights.files import read_published, sha256_of
from slidekin_models.weights.foreign import read_network, vectors_of
from slidekin_models.weights.manifest import (
    FOREIGN_FILES,
    MANIFEST_NAME,
    NetworkManifest,
    TextureManifest,
    write_yaml,
)

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_ONNX_IR_VERSION = b"\x08"


class Kind(StrEnum):
    """The kinds of files that are recognised."""

    DENSENET121 = "densenet121"
    SISH_VQVAE = "sish-vqvae"
    TORCHSCRIPT = "torchscript"
    ONNX = "onnx"


@dataclass(frozen=True, slots=True)
class ForeignFacts:
    """The facts that a TorchScript or ONNX file does not contain."""

    name: str
    licence: str
    source: str
    pixels: PixelRule


def recognise(path: Path) -> Kind:
    """Recognise a file by its content; no code in it is run.

    Raises:
        WeightsError: The file cannot be read, or is of no kind that can be imported.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(_ZIP))
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise WeightsError(msg) from error
    if head.startswith(_ZIP):
        return _recognise_archive(path)
    if head.startswith(_PICKLE):
        return _recognise_checkpoint(path)
    if path.suffix == ".onnx" and head.startswith(_ONNX_IR_VERSION):
        return Kind.ONNX
    msg = (
        f"{path}: neither a PyTorch file nor ONNX (*.onnx); what can be imported: {', '.join(Kind)}"
    )
    raise WeightsError(msg)


def import_foreign(path: Path, kind: Kind, directory: Path, facts: ForeignFacts) -> TextureManifest:
    """Turn a user's own TorchScript or ONNX file into a model directory.

    The network is run on drawn pictures. It must return one vector for each picture: its length is
    a multiple of 64, its numbers are finite and differ between pictures, and they do not depend on
    the rest of the batch.

    Raises:
        ManifestError: The directory is not empty, or a fact is not valid.
        WeightsError: The file cannot be read, or its network does not do this.
    """
    with directories.new_directory(directory) as made:
        copy = made / FOREIGN_FILES[kind]
        shutil.copyfile(path, copy)
        try:
            # Read the copy, so that files beside the original are not used.
            bits = _tried(read_network(copy, kind), facts.pixels)
        except WeightsError as error:
            msg = f"{path}: {str(error).replace(f'{copy}: ', '')}"
            raise WeightsError(msg) from error
        manifest = TextureManifest(
            name=facts.name,
            architecture=kind,
            source=facts.source,
            licence=facts.licence,
            weights_sha256=sha256_of(copy),
            preprocessing=facts.pixels.preprocessing,
            random_weights=False,
            texture_bits=bits,
            hamming_threshold_bits=bits // 8,
            threshold_note="not calibrated: 12.5 % of the bits; set it with models calibrate",
            pixels=facts.pixels,
        )
        write_yaml(manifest, made / MANIFEST_NAME)
    return manifest


def import_known(
    path: Path, kind: Kind, directory: Path, semantic_order: Path | None = None
) -> NetworkManifest:
    """Turn a published file of a built-in network into a model directory.

    Raises:
        ManifestError: The directory is not empty.
        WeightsError: The file is damaged, hostile, or holds something else.
    """
    if kind is Kind.SISH_VQVAE:
        return directories.import_released_vqvae(path, directory, semantic_order)
    return directories.import_densenet121(path, directory)


def _recognise_archive(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            inside = {name.partition("/")[2] for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        msg = f"{path}: damaged or cut short ({error}): fetch it again"
        raise WeightsError(msg) from error
    if any(name.startswith("code/") for name in inside) and "constants.pkl" in inside:
        return Kind.TORCHSCRIPT
    if "data.pkl" in inside:
        return _recognise_checkpoint(path)
    msg = (
        f"{path}: an archive that is neither TorchScript nor a PyTorch checkpoint; export the "
        "network with torch.onnx.export"
    )
    raise WeightsError(msg)


def _recognise_checkpoint(path: Path) -> Kind:
    content = read_published(path)
    names = content if isinstance(content, Mapping) else {}
    model = names.get("model")
    if isinstance(model, Mapping) and any("encoder.0." in str(name) for name in model):
        return Kind.SISH_VQVAE
    if "features.denseblock4.denselayer16.conv2.weight" in _modern(names):
        return Kind.DENSENET121
    msg = (
        f"{path}: a PyTorch checkpoint of no network that is known here ({Kind.DENSENET121}, "
        f"{Kind.SISH_VQVAE}); another network comes whole, as ONNX (torch.onnx.export) or "
        "TorchScript"
    )
    raise WeightsError(msg)


def _modern(names: Mapping[object, object]) -> set[str]:
    return {str(name).replace("conv.2.", "conv2.") for name in names}


def _tried(network: nn.Module, rule: PixelRule) -> int:
    """Check that the network's vectors can be textures; return their length."""
    pictures = torch.from_numpy(stained_pictures(3, rule.side_px, seed=1))
    mean, std = (torch.tensor(value).reshape(3, 1, 1) for value in (rule.mean, rule.std))
    pixels = (pictures.permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        alone = torch.cat([vectors_of(network, picture[None]) for picture in pixels])
        together = vectors_of(network, pixels)
    bits = alone.shape[1]
    faults = {
        f"gives {bits} numbers; a texture has a multiple of 64: cut or project the vector": (
            bits % 64 != 0
        ),
        "gives numbers that are not finite": not bool(alone.isfinite().all()),
        "gives the same vector for different pictures": bool(torch.equal(alone[0], alone[-1])),
        "gives a vector that depends on the images beside it: export it in evaluation mode": (
            not torch.allclose(alone, together, rtol=1e-3, atol=1e-4)
        ),
    }
    for fault, found in faults.items():
        if found:
            msg = f"the network {fault}"
            raise WeightsError(msg)
    return bits
