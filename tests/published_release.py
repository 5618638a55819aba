"""Files in the published program's format, written from what a test says of the slides."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from slidekin_server.values import PatchCodes
from tests.unit.server.made_bundles import bundle_content, write_bundle

ORDER = np.random.default_rng(7).permutation(128).astype(np.uint8)
"""A semantic order: old code -> new code."""
FINGERPRINT = "ab" * 32
"""Of the model that made the releases."""


def codes_for(keys: np.ndarray, order: np.ndarray = ORDER) -> np.ndarray:
    """VQ-VAE codes, shape (n, 64, 64), whose keys are the given ones.

    A key states the sums of the three pooled arrays. From the coarsest on, each array's values are
    four times those above them plus what its own sum leaves over, at most 3 to a group of four.
    """
    return np.stack([_codes_for(int(key), order) for key in keys])


def _codes_for(key: int, order: np.ndarray) -> np.ndarray:
    sums = (key // 10**11, key // 10**6 % 10**5, key % 10**6)
    level = np.full(64, sums[0] // 64)
    level[: sums[0] % 64] += 1
    level = level.reshape(8, 8)
    for total in sums[1:]:
        left = total - 4 * int(level.sum())
        groups = np.minimum(3, np.maximum(0, left - 3 * np.arange(level.size))).reshape(level.shape)
        finer = np.repeat(np.repeat(level, 2, axis=0), 2, axis=1)
        for step, (row, column) in enumerate(((0, 0), (0, 1), (1, 0))):
            finer[row::2, column::2] += groups > step
        level = finer
    new = np.repeat(np.repeat(level, 2, axis=0), 2, axis=1)
    return np.argsort(order)[new].astype(np.uint8)


def text_of(texture: np.ndarray) -> str:
    """A texture as characters."""
    return "".join(map(str, np.unpackbits(texture).tolist()))


@dataclass
class PublishedRelease:
    """A release as a folder; what was written may be changed before it is read."""

    folder: Path
    index: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    """What ``meta.pkl`` will hold."""

    @property
    def latent(self) -> Path:
        """The folder of what the networks said."""
        return self.folder / "LATENT"

    @property
    def meta(self) -> Path:
        """The published index."""
        return self.folder / "index_meta/meta.pkl"

    def codes_file(self, slide: str, group: str = "site") -> Path:
        """A slide's codes."""
        return self.latent / group / "vqvae" / f"{slide}.h5"

    def textures_file(self, slide: str, group: str = "site") -> Path:
        """A slide's textures."""
        return self.latent / group / "densenet" / f"{slide}.pkl"

    def add(self, slide: str, patches: PatchCodes, group: str = "site", **facts: str) -> None:
        """Write a slide's files and put its patches into the index."""
        self.write_codes(slide, codes_for(patches.keys), patches.xy, group)
        self.write_textures(slide, [text_of(texture) for texture in patches.textures], group)
        for key, texture, (x, y) in zip(
            patches.keys.tolist(), patches.textures, patches.xy.tolist(), strict=True
        ):
            entry = {"bits": text_of(texture), "slide": slide, "x": x, "y": y, **facts}
            self.index.setdefault(key, []).append(entry)

    def write_codes(
        self, slide: str, codes: np.ndarray, xy: np.ndarray, group: str = "site"
    ) -> None:
        """Write a slide's codes and coordinates."""
        path = self.codes_file(slide, group)
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file.create_dataset("features", data=codes, compression="gzip")
            file.create_dataset("coords", data=xy)

    def write_textures(self, slide: str, textures: Any, group: str = "site") -> None:
        """Write a slide's textures."""
        path = self.textures_file(slide, group)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(textures))

    def write_meta(self) -> None:
        """Write the index."""
        self.meta.parent.mkdir(parents=True, exist_ok=True)
        self.meta.write_bytes(pickle.dumps(self.index))


def drawn_patches(count: int, seed: int, keys: np.ndarray | None = None) -> PatchCodes:
    """Patches with keys that codes can have."""
    rng = np.random.default_rng(seed)
    if keys is None:
        coarse = rng.integers(0, 8000, count)
        middle = 4 * coarse + rng.integers(0, 3 * 64, count)
        keys = 4 * middle + rng.integers(0, 3 * 256, count) + middle * 10**6 + coarse * 10**11
    return PatchCodes(
        keys,
        rng.integers(0, 256, (count, 128), dtype=np.uint8),
        rng.integers(0, 50_000, (count, 2), dtype=np.int32),
    )


def published_bundle(folder: Path, **changed: Any) -> Path:
    """A bundle that says it is of the published networks."""
    networks = bundle_content()["networks"]
    settings = {
        "fingerprint": FINGERPRINT,
        "semantic_order": ORDER.tolist(),
        "texture_bits": 1024,
        "hamming_threshold_bits": 128,
        "networks": {**networks, "texture": {**networks["texture"], "architecture": "densenet121"}},
    }
    return write_bundle(folder, **{**settings, **changed})


def import_arguments(
    release: PublishedRelease, bundle: Path, server: str, collection: str, *options: str
) -> list[str]:
    """What `slidekin-server` is given to import a release."""
    arguments = ["import-sish", str(release.latent), str(release.meta), "--bundle", str(bundle)]
    return [*arguments, "--server", server, "--collection", collection, *options]
