"""The bundle: one directory with everything needed to serve a pair of networks.

The search service and the launcher read only ``bundle.yaml``; they need neither torch nor this
package.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from slidekin_models.bundles import canary
from slidekin_models.decoding import PATCH_PX
from slidekin_models.errors import ManifestError, RandomWeightsRefusedError
from slidekin_models.networks.vqvae import DOWNSAMPLING
from slidekin_models.shipped import shipped_manifest
from slidekin_models.weights import directories
from slidekin_models.weights.files import require_sha256
from slidekin_models.weights.fingerprint import fingerprint
from slidekin_models.weights.manifest import (
    MANIFEST_NAME,
    ModelT,
    NetworkManifest,
    TextureManifest,
    VqVaeManifest,
    network_file,
    read_yaml,
    write_yaml,
)
from slidekin_models.weights.packaged import PACKAGED
from slidekin_models.weights.verdicts import limits_of

BUNDLE_NAME = "bundle.yaml"
NetworkT = TypeVar("NetworkT", bound=NetworkManifest)
_CODES_OF_A_PATCH = (PATCH_PX // DOWNSAMPLING) ** 2
_CARD_FILES = ("CARD.md", "*.png", "*.json")


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RandomVqVae(_Config):
    """A VQ-VAE with random weights."""

    seed: int = Field(ge=0, lt=1000)


class RandomTexture(_Config):
    """A texture network with random weights."""

    architecture: str
    seed: int = Field(ge=0, lt=1000)


class VqVaeChoice(_Config):
    """The choice of the VQ-VAE: exactly one of these."""

    manifest: Path | None = None
    shipped: str | None = None
    """Name of a model that comes with the package."""
    random: RandomVqVae | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        return _exactly_one(self, "manifest", "shipped", "random")


class TextureChoice(_Config):
    """The choice of the texture network: exactly one of these."""

    manifest: Path | None = None
    package: str | None = None
    random: RandomTexture | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        return _exactly_one(self, "manifest", "package", "random")


class BuildConfig(_Config):
    """The configuration file that chooses a pair of networks."""

    vqvae: VqVaeChoice
    texture: TextureChoice
    allow_random_weights: bool = False
    """Random weights are refused unless this is true."""


class NetworkEntry(_Config):
    """The description of a network in the bundle."""

    name: str
    architecture: str
    source: str
    licence: str
    weights_sha256: str
    preprocessing: str
    random_weights: bool
    texture_bits: int | None = None
    hamming_threshold_bits: int | None = None
    threshold_note: str | None = None


class Networks(_Config):
    """The pair."""

    vqvae: NetworkEntry
    texture: NetworkEntry


class TritonNames(_Config):
    """The names under which Triton serves the pair."""

    encoder_model: str = "patch_encoder"
    raw_encoder_model: str = "patch_encoder_raw"
    version: str = "1"


class CanaryTolerance(_Config):
    """How far the answer of networks in less than fp32 may be from the known one."""

    max_differing_codes: int
    max_differing_texture_bits: int


class Canary(_Config):
    """Paths within the bundle, and how far an answer may be from the known one.

    Processors sum in different orders, so the nearest of two almost equally near codewords may
    change.
    """

    image: str = canary.IMAGE.as_posix()
    codes: str = canary.CODES.as_posix()
    texture_features: str = canary.TEXTURE_FEATURES.as_posix()
    max_differing_codes: int = 4
    max_differing_texture_bits: int
    reduced_precision: CanaryTolerance | None = None
    """What the gate allows for one patch."""


class Bundle(_Config):
    """``bundle.yaml``."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    fingerprint: str
    random_weights: bool
    texture_bits: int
    hamming_threshold_bits: int
    semantic_order: list[int]
    patch_size_px: int = PATCH_PX
    networks: Networks
    triton: TritonNames
    canary: Canary


def build_bundle(config_path: Path, out: Path, *, replace: bool = False) -> Bundle:
    """Write the bundle that a configuration chooses.

    It is made beside ``out`` and renamed, so that a bundle is never incomplete. An existing bundle
    with the same fingerprint is left as it is.

    Args:
        config_path: YAML of a :class:`BuildConfig`; paths in it are relative to it.
        out: The bundle's directory.
        replace: Whether a bundle with another fingerprint may be replaced.

    Raises:
        ManifestError: The configuration or a manifest is not valid, or ``out`` is not empty.
        RandomWeightsRefusedError: Random weights without ``allow_random_weights: true``.
        WeightsError: A weights file is missing or altered.
    """
    config = read_yaml(config_path, BuildConfig)
    _refuse_random_choice(config, config_path)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        made = Path(scratch) / "bundle"
        vqvae = _place_vqvae(config.vqvae, config_path.parent, made / "vqvae")
        texture = _place_texture(config.texture, config_path.parent, made / "texture")
        for manifest in (vqvae, texture):
            _refuse_random_weights(manifest, config, config_path)
        bundle = _describe(vqvae, texture)
        if out.exists():
            standing = read_bundle(out)
            if standing == bundle:
                _adopt_verdicts(made / "vqvae", out / "vqvae", VqVaeManifest)
                _adopt_verdicts(made / "texture", out / "texture", TextureManifest)
                return standing
            if not replace:
                raise ManifestError(_taken(out, standing, bundle))
        canary.write_canary(made)
        write_yaml(bundle, made / BUNDLE_NAME)
        if out.exists():
            out.rename(Path(scratch) / "replaced")
        made.rename(out)
    return bundle


def read_bundle(directory: Path) -> Bundle:
    """Read and validate a bundle's description.

    Raises:
        ManifestError: The description is missing or not valid.
    """
    return read_yaml(directory / BUNDLE_NAME, Bundle)


def verify_bundle(directory: Path) -> Bundle:
    """Check that a bundle's weights and manifests match its description.

    Raises:
        ManifestError: Description and manifests disagree.
        WeightsError: A weights file is missing or altered.
    """
    bundle = read_bundle(directory)
    vqvae = read_yaml(directory / "vqvae" / MANIFEST_NAME, VqVaeManifest)
    texture = read_yaml(directory / "texture" / MANIFEST_NAME, TextureManifest)
    if _describe(vqvae, texture) != bundle:
        msg = f"{directory / BUNDLE_NAME}: does not describe the manifests beside it: build anew"
        raise ManifestError(msg)
    for name, manifest in (("vqvae", vqvae), ("texture", texture)):
        require_sha256(directory / name / network_file(manifest), manifest.weights_sha256)
    return bundle


def _describe(vqvae: VqVaeManifest, texture: TextureManifest) -> Bundle:
    shared = set(NetworkEntry.model_fields)
    return Bundle(
        fingerprint=fingerprint(vqvae, texture),
        random_weights=vqvae.random_weights or texture.random_weights,
        texture_bits=texture.texture_bits,
        hamming_threshold_bits=texture.hamming_threshold_bits,
        semantic_order=vqvae.semantic_order,
        networks=Networks(
            vqvae=NetworkEntry(**vqvae.model_dump(include=shared)),
            texture=NetworkEntry(**texture.model_dump(include=shared)),
        ),
        triton=TritonNames(),
        canary=Canary(
            max_differing_texture_bits=max(1, texture.texture_bits // 100),
            reduced_precision=_reduced_tolerance(texture),
        ),
    )


def _adopt_verdicts(
    made: Path, standing: Path, kind: type[VqVaeManifest | TextureManifest]
) -> None:
    """Add the gate's verdicts that the bundle does not have; its own verdicts stay."""
    held = read_yaml(standing / MANIFEST_NAME, kind)
    known = {(verdict.runtime, verdict.precision, verdict.device) for verdict in held.runtimes}
    fresh = [
        verdict
        for verdict in read_yaml(made / MANIFEST_NAME, kind).runtimes
        if (verdict.runtime, verdict.precision, verdict.device) not in known
    ]
    if fresh:
        merged = held.model_copy(update={"runtimes": [*held.runtimes, *fresh]})
        write_yaml(merged, standing / MANIFEST_NAME)


def _reduced_tolerance(texture: TextureManifest) -> CanaryTolerance:
    """The gate's limits of a single patch."""
    limits = limits_of("bf16")
    differing_codes = (1 - limits.least_equal_codes_of_a_patch) * _CODES_OF_A_PATCH
    differing_bits = limits.most_bits_of_a_patch * texture.hamming_threshold_bits
    return CanaryTolerance(
        max_differing_codes=int(differing_codes),
        max_differing_texture_bits=max(1, texture.texture_bits // 100, int(differing_bits)),
    )


def _taken(out: Path, standing: Bundle, bundle: Bundle) -> str:
    if standing.fingerprint == bundle.fingerprint:
        return (
            f"{out}: holds a bundle of the same networks with other facts, such as a threshold: "
            "replace it (--replace); collections stay valid"
        )
    return (
        f"{out}: holds the bundle {standing.fingerprint[:16]}, not {bundle.fingerprint[:16]}: "
        "choose another directory, or replace it (--replace)"
    )


def _place_vqvae(choice: VqVaeChoice, base: Path, directory: Path) -> VqVaeManifest:
    if choice.random is not None:
        return directories.write_random_vqvae(directory, choice.random.seed)
    if choice.shipped is not None:
        return _copy_model(shipped_manifest(choice.shipped), directory, VqVaeManifest)
    return _copy_model(_chosen_manifest(choice.manifest, base), directory, VqVaeManifest)


def _place_texture(choice: TextureChoice, base: Path, directory: Path) -> TextureManifest:
    if choice.random is not None:
        return directories.write_random_texture(
            directory, choice.random.architecture, choice.random.seed
        )
    if choice.package is not None:
        if choice.package not in PACKAGED:
            known = ", ".join(sorted(PACKAGED))
            msg = f"texture.package: {choice.package!r} is not known; known are {known}"
            raise ManifestError(msg)
        return directories.write_packaged_texture(directory, PACKAGED[choice.package])
    return _copy_model(_chosen_manifest(choice.manifest, base), directory, TextureManifest)


def _chosen_manifest(manifest: Path | None, base: Path) -> Path:
    if manifest is None:
        msg = "a choice without a manifest"
        raise ManifestError(msg)
    return base / manifest


def _copy_model(manifest_path: Path, directory: Path, kind: type[NetworkT]) -> NetworkT:
    manifest = read_yaml(manifest_path, kind)
    directory.mkdir(parents=True)
    source = manifest_path.parent
    weights = source / network_file(manifest)
    if not weights.is_file():
        msg = f"{manifest_path}: its weights {weights} are not there"
        raise ManifestError(msg)
    # Copied as they are: written anew, the same tensors could become other bytes. The card and
    # what it shows go along.
    for path in (weights, *(path for kind in _CARD_FILES for path in sorted(source.glob(kind)))):
        shutil.copyfile(path, directory / path.name)
    write_yaml(manifest, directory / MANIFEST_NAME)
    return manifest


def _refuse_random_choice(config: BuildConfig, path: Path) -> None:
    for key, choice in (("vqvae", config.vqvae), ("texture", config.texture)):
        if choice.random is not None and not config.allow_random_weights:
            _refuse(f"{path}: {key}.random")


def _refuse_random_weights(manifest: NetworkManifest, config: BuildConfig, path: Path) -> None:
    if manifest.random_weights and not config.allow_random_weights:
        _refuse(f"{path}: {manifest.name}")


def _refuse(what: str) -> None:
    msg = (
        f"{what}: random weights have learned nothing and their results mean nothing; name a "
        "trained model, or say allow_random_weights: true"
    )
    raise RandomWeightsRefusedError(msg)


def _exactly_one(choice: ModelT, *keys: str) -> ModelT:
    given = [key for key in keys if getattr(choice, key) is not None]
    if len(given) != 1:
        msg = f"needs exactly one of {', '.join(keys)}; has {', '.join(given) or 'none'}"
        raise ValueError(msg)
    return choice
