"""What the networks say of the tiles; encoded once and kept outside the checkout."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tests.bench.tiles.tiles import Tile

from slidekin_models.runtimes.serving import PatchEncoder, Placement, load_texture, load_vqvae
from slidekin_models.weights import directories
from slidekin_models.weights.files import load_weights
from slidekin_models.weights.manifest import (
    MANIFEST_NAME,
    WEIGHTS_NAME,
    TextureManifest,
    VqVaeManifest,
    read_yaml,
)
from slidekin_models.weights.packaged import PACKAGED

Manifest = TextureManifest | VqVaeManifest


@dataclass(frozen=True)
class Encoded:
    """Tiles through one network."""

    manifest: Manifest
    values: NDArray[np.generic]
    """Texture network: features (n, bits), float32. VQ-VAE: raw codes (n, 64, 64), uint8."""
    codewords: NDArray[np.float64] | None = None
    """Of a VQ-VAE: (128, 256)."""


def texture_network(which: str) -> Callable[[Path], TextureManifest]:
    """Writes the model directory of ``packaged``, or of an architecture with random weights."""
    if which == "packaged":
        return lambda folder: directories.write_packaged_texture(
            folder, PACKAGED["efficientnet-lite0"]
        )
    return lambda folder: directories.write_random_texture(folder, which, seed=0)


def encode_textures(
    tiles: Sequence[Tile], which: str, cache: Path, *, own_size: bool = False
) -> Encoded:
    """The features of a texture network (see `texture_network`).

    Args:
        tiles: What to encode.
        which: The network.
        cache: Folder to keep the features in.
        own_size: Not scaled to 1024 px, as no service would have it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        manifest = texture_network(which)(folder)
        return _cached(
            tiles, manifest, cache, lambda place: load_texture(folder, place), own_size=own_size
        )


def encode_vqvae(tiles: Sequence[Tile], model: Path | None, cache: Path) -> Encoded:
    """The codes of a VQ-VAE: of a model directory, or with random weights (seed 0)."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = model or Path(scratch) / "model"
        if model is None:
            directories.write_random_vqvae(folder, seed=0)
        manifest = read_yaml(folder / MANIFEST_NAME, VqVaeManifest)
        made = _cached(tiles, manifest, cache, lambda place: load_vqvae(folder, place))
        weights = load_weights(folder / WEIGHTS_NAME, manifest.weights_sha256)
        words = weights["codebook.embedding.weight"].double().numpy()
        return Encoded(manifest, made.values, words)


def default_cache() -> Path:
    """Outside the checkout, where caches go."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "slidekin" / "tiles"


def _cached(
    tiles: Sequence[Tile],
    manifest: Manifest,
    cache: Path,
    load: Callable[[Placement], PatchEncoder],
    *,
    own_size: bool = False,
) -> Encoded:
    """By tile, so that a run that was broken off goes on where it stood."""
    size = "-own-size" if own_size else ""
    folder = cache / f"{manifest.name}-{manifest.weights_sha256[:16]}{size}"
    folder.mkdir(parents=True, exist_ok=True)
    encoder: PatchEncoder | None = None
    values = []
    for number, tile in enumerate(tiles, start=1):
        kept = folder / f"{tile.path.parent.name}-{tile.tile_id}.npy"
        if not kept.exists():
            torch.set_num_threads(1)
            encoder = encoder or load(Placement(threads=1))
            draft = kept.with_suffix(".part.npy")
            np.save(draft, encoder.encode(tile.pixels(own_size=own_size)[None])[0])
            draft.replace(kept)
            print(f"{manifest.name}: {number} of {len(tiles)}", end="\r", file=sys.stderr)
        values.append(np.load(kept))
    if encoder is not None:
        print(file=sys.stderr)
    return Encoded(manifest, np.stack(values))
