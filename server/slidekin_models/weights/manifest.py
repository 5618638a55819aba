"""Manifests: what a weights file is, where it comes from, and what it must satisfy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from slidekin_models.errors import ManifestError
from slidekin_models.networks.pixels import PixelRule
from slidekin_models.plain_yaml import load_yaml
from slidekin_models.weights.verdicts import CodeFigures, TextureFigures, Verdict

MANIFEST_NAME = "manifest.yaml"
WEIGHTS_NAME = "weights.safetensors"
FOREIGN_FILES: Mapping[str, str] = MappingProxyType(
    {"torchscript": "network.pt", "onnx": "network.onnx"}
)
"""Architectures of users' own networks, and the file that holds network and weights."""
_CODES = 128

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ModelT = TypeVar("ModelT", bound=BaseModel)


class NetworkManifest(BaseModel):
    """The common part of every network's manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    """Name of this set of weights, for people."""
    architecture: str
    source: str = Field(min_length=1)
    """Where the weights come from: a file's address, a package, a training run, a seed."""
    licence: str = Field(min_length=1)
    """SPDX identifier, or the publisher's own words."""
    weights_sha256: Sha256
    preprocessing: str
    """Version of the processing of the pixels before the network."""
    random_weights: bool
    """True if the weights are untrained: search results then mean nothing."""


class VqVaeManifest(NetworkManifest):
    """Of a VQ-VAE."""

    architecture: Literal["vqvae"]
    semantic_order: list[int]
    """``semantic_order[old] = new``: a permutation of 0..127 that gives similar codes close
    numbers."""
    runtimes: list[Verdict[CodeFigures]] = Field(default_factory=list)
    """What ``models gate`` found."""

    @model_validator(mode="after")
    def _order_is_a_permutation(self) -> Self:
        if sorted(self.semantic_order) != list(range(_CODES)):
            msg = f"semantic_order: must hold each of 0..{_CODES - 1} exactly once"
            raise ValueError(msg)
        return self


class TextureManifest(NetworkManifest):
    """Of a texture network."""

    texture_bits: int = Field(gt=0, multiple_of=64)
    """Length of the feature vector, and number of bits of the texture."""
    hamming_threshold_bits: int = Field(ge=0)
    """Largest Hamming distance at which two textures count as alike (theta)."""
    threshold_note: str = Field(min_length=1)
    """How the threshold was found."""
    pixels: PixelRule | None = None
    """For a user's own network: how its input is made."""
    runtimes: list[Verdict[TextureFigures]] = Field(default_factory=list)
    """What ``models gate`` found."""

    @model_validator(mode="after")
    def _threshold_fits_the_texture(self) -> Self:
        if self.hamming_threshold_bits > self.texture_bits:
            msg = (
                f"hamming_threshold_bits: {self.hamming_threshold_bits} is more than the "
                f"{self.texture_bits} bits of the texture"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _foreign_networks_say_what_they_take(self) -> Self:
        if (self.pixels is not None) != (self.architecture in FOREIGN_FILES):
            msg = f"pixels: is for networks of {' and '.join(FOREIGN_FILES)}, and needed there"
            raise ValueError(msg)
        # The fingerprint covers the preprocessing, so the preprocessing must state the rule.
        if self.pixels is not None and self.preprocessing != self.pixels.preprocessing:
            msg = f"preprocessing: must be {self.pixels.preprocessing!r}, as pixels says"
            raise ValueError(msg)
        return self


def network_file(manifest: NetworkManifest) -> str:
    """Name of the file beside the manifest whose SHA-256 is ``weights_sha256``."""
    return FOREIGN_FILES.get(manifest.architecture, WEIGHTS_NAME)


class _AnyManifest(NetworkManifest):
    """A manifest of which only the common part is read."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def read_manifest(directory: Path) -> VqVaeManifest | TextureManifest:
    """Read the manifest of a model directory, of either kind.

    Raises:
        ManifestError: It is missing or not valid.
    """
    path = directory / MANIFEST_NAME
    if read_yaml(path, _AnyManifest).architecture == "vqvae":
        return read_yaml(path, VqVaeManifest)
    return read_yaml(path, TextureManifest)


def read_yaml(path: Path, model: type[ModelT]) -> ModelT:
    """Read and validate a YAML file.

    Raises:
        ManifestError: The file is missing, not YAML, or not valid; each fault names its key.
    """
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise ManifestError(msg) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        msg = f"{path}: not YAML: {error}"
        raise ManifestError(msg) from error
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            ": ".join(filter(None, (".".join(str(part) for part in fault["loc"]), fault["msg"])))
            for fault in error.errors()
        )
        msg = f"{path}: {faults}"
        raise ManifestError(msg) from error


def write_yaml(model: BaseModel, path: Path) -> None:
    """Write a validated value as YAML, keys in the order of their definition."""
    content = model.model_dump(mode="json", exclude_none=True, by_alias=True)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None)
    # Written beside it and renamed: a reader sees the old file or the new one.
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
