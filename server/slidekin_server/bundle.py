"""The model bundle as the service sees it: facts about the networks, no networks.

``bundle.yaml`` is written by ``slidekin-server models build``. It names the fingerprint that every
collection is bound to, and the patch and answers that the canary check compares with.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slidekin_server.plain_yaml import load_yaml

SCHEMA = 1


class BundleError(Exception):
    """The model bundle cannot be used; names the file, what is wrong with it and the cure."""


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """One network of the bundle."""

    role: str
    """``vqvae`` or ``texture``."""
    name: str
    architecture: str
    source: str
    """Where its weights come from."""
    licence: str
    """Licence of its weights."""
    random_weights: bool


@dataclass(frozen=True, slots=True)
class CanaryTolerance:
    """How far an answer may be from the known one."""

    max_differing_codes: int
    max_differing_texture_bits: int


@dataclass(frozen=True, slots=True)
class CanaryFacts:
    """A patch whose codes and texture are known, and how far an answer may be off."""

    image: Path
    """PNG file, 1024 x 1024 RGB."""
    codes: Path
    """``.npy`` file, uint8 (64, 64): codes before the semantic order."""
    texture_features: Path
    """``.npy`` file, float32 (texture_bits,)."""
    exact: CanaryTolerance
    """Of networks in fp32."""
    reduced: CanaryTolerance
    """Of networks in fewer digits, as far as the gate lets them."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelBundle:
    """What is served, and under which names Triton serves it."""

    folder: Path
    fingerprint: str
    """SHA-256 (hex) of weights, semantic order and preprocessing."""
    random_weights: bool
    texture_bits: int
    hamming_threshold_bits: int
    """Distance up to which two textures of this texture network count as alike."""
    semantic_order: NDArray[np.uint8]
    """Shape (128,). New code of each code."""
    patch_size_px: int
    """Edge of the square that the networks see."""
    networks: tuple[NetworkFacts, ...]
    encoder_model: str
    """Triton's model that takes image files."""
    raw_encoder_model: str
    """Triton's model that takes pixels."""
    model_version: str
    canary: CanaryFacts


def load_bundle(folder: Path, *, allow_random_weights: bool) -> ModelBundle:
    """Read a bundle's facts.

    Args:
        folder: The bundle.
        allow_random_weights: Accept networks with random weights.

    Raises:
        BundleError: The bundle is missing, incomplete, of another version, or has random weights
            that were not asked for.
    """
    file = folder / "bundle.yaml"
    try:
        content = load_yaml(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(
            f"{folder} holds no bundle.yaml: build the bundle with 'slidekin-server models build', "
            "or set model.bundle to the folder that holds it"
        ) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise BundleError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else None
        if not isinstance(found, str | None) and found not in range(1000):
            found = type(found).__name__  # with aliases, a small file states gigabytes
        raise BundleError(
            f"{file} has schema {found!r}, this service reads schema {SCHEMA}: "
            "build the bundle with the version of slidekin that serves it"
        )
    try:
        written = _BundleFile.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"'{'.'.join(map(str, one['loc']))}': {one['msg']}" for one in error.errors()
        )
        raise BundleError(f"{file} is damaged, build the bundle anew: {problems}") from None
    if sorted(written.semantic_order) != list(range(128)):
        raise BundleError(
            f"{file} is damaged, build the bundle anew: 'semantic_order' must hold 0..127 once each"
        )
    if written.random_weights and not allow_random_weights:
        names = ", ".join(
            f"{role} ({network.name})"
            for role, network in written.networks.items()
            if network.random_weights
        )
        raise BundleError(
            f"{folder} holds random weights: {names}. What they find says nothing of tissue. Build "
            "the bundle from trained weights, or, to exercise the system, set "
            "model.allow_random_weights to true"
        )
    return _bundle(folder, written)


def _bundle(folder: Path, written: _BundleFile) -> ModelBundle:
    exact = CanaryTolerance(
        max_differing_codes=written.canary.max_differing_codes,
        max_differing_texture_bits=written.canary.max_differing_texture_bits,
    )
    reduced = written.canary.reduced_precision
    canary = CanaryFacts(
        image=folder / written.canary.image,
        codes=folder / written.canary.codes,
        texture_features=folder / written.canary.texture_features,
        exact=exact,
        reduced=CanaryTolerance(**reduced.model_dump()) if reduced else exact,
    )
    for path in (canary.image, canary.codes, canary.texture_features):
        if not path.is_file():
            raise BundleError(f"{folder} is incomplete, build the bundle anew: {path} is missing")
    # As the launcher names them: bundles are served side by side.
    short = written.fingerprint[:12]
    return ModelBundle(
        folder=folder,
        fingerprint=written.fingerprint,
        random_weights=written.random_weights,
        texture_bits=written.texture_bits,
        hamming_threshold_bits=written.hamming_threshold_bits,
        semantic_order=np.array(written.semantic_order, dtype=np.uint8),
        patch_size_px=written.patch_size_px,
        networks=tuple(
            NetworkFacts(role=role, **network.model_dump())
            for role, network in written.networks.items()
        ),
        encoder_model=f"{written.triton.encoder_model}-{short}",
        raw_encoder_model=f"{written.triton.raw_encoder_model}-{short}",
        model_version=written.triton.version,
        canary=canary,
    )


class _Part(BaseModel):
    # A newer builder may add facts that this service does not need.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _NetworkPart(_Part):
    name: str
    architecture: str
    source: str
    licence: str
    random_weights: bool


class _TritonPart(_Part):
    encoder_model: str
    raw_encoder_model: str
    version: str


class _TolerancePart(_Part):
    max_differing_codes: int
    max_differing_texture_bits: int


class _CanaryPart(_TolerancePart):
    image: str
    codes: str
    texture_features: str
    reduced_precision: _TolerancePart | None = None


class _BundleFile(_Part):
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    random_weights: bool
    texture_bits: Annotated[int, Field(gt=0, multiple_of=64)]
    hamming_threshold_bits: Annotated[int, Field(ge=0)]
    semantic_order: list[int]
    patch_size_px: Annotated[int, Field(gt=0)]
    networks: dict[str, _NetworkPart]
    triton: _TritonPart
    canary: _CanaryPart
