"""The labelled tiles of the experiment: Kather et al. 2016, colorectal tissue, CC BY 4.0."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tests.paths import test_data

from slidekin_models.decoding import decode_patch
from slidekin_models.sampling import SampleSettings, TissueSampler

LABELS = ("tumour", "stroma", "complex", "lympho", "debris", "mucosa", "adipose", "empty")
_ORIGINAL = re.compile(r"^0([1-8])_.*CRC-Prim-HE-(\d+)")


@dataclass(frozen=True)
class Tile:
    """One tile."""

    path: Path
    label: str
    patient: str = ""
    """Of the tiles in their original size: the slide that their names name."""

    @property
    def tile_id(self) -> str:
        return self.path.stem

    def pixels(self, *, own_size: bool = False) -> NDArray[np.uint8]:
        """Scaled to 1024 px as the service scales it, (1024, 1024, 3); or as it is."""
        if own_size:
            with Image.open(self.path) as image:
                return np.array(image.convert("RGB"))
        return decode_patch(self.png())

    def png(self) -> bytes:
        """The tile as PNG, in its own size."""
        file = io.BytesIO()
        with Image.open(self.path) as image:
            image.convert("RGB").save(file, "PNG", compress_level=1)
        return file.getvalue()


def hundred() -> list[Tile]:
    """The 100 tiles, by number."""
    folder = _tiles() / "kather2016_100"
    found = [
        (int(match[1]), Tile(path, LABELS[int(match[2])]))
        for path in folder.glob("*.png")
        if (match := re.fullmatch(r"image_(\d+)_label_(\d)", path.stem))
    ]
    return [tile for _, tile in sorted(found, key=lambda pair: pair[0])]


def originals() -> list[Tile]:
    """The 24 tiles in their original size, three a class."""
    folder = _tiles() / "kather2016_24"
    paths = [path for path in folder.rglob("*") if path.suffix.lower() in {".png", ".tif", ".jpg"}]
    found = []
    for path in sorted(paths):
        match = _ORIGINAL.match(path.relative_to(folder).as_posix())
        if match:
            found.append(Tile(path, LABELS[int(match[1]) - 1], f"HE-{match[2]}"))
    return found


def halves(tiles: Sequence[Tile], seed: int) -> tuple[list[int], list[int]]:
    """Two halves with equal shares of every label, as sorted indices.

    Where a label has an odd number of tiles, the halves take turns at the one left over.
    """
    rng = np.random.default_rng(seed)
    members: dict[str, list[int]] = defaultdict(list)
    for index, tile in enumerate(tiles):
        members[tile.label].append(index)
    parts: tuple[list[int], list[int]] = ([], [])
    for label in sorted(members):
        drawn = rng.permutation(members[label]).tolist()
        larger = (len(drawn) + 1) // 2
        smaller_half = 0 if len(parts[0]) <= len(parts[1]) else 1
        parts[smaller_half].extend(drawn[:larger])
        parts[1 - smaller_half].extend(drawn[larger:])
    return sorted(parts[0]), sorted(parts[1])


def held_out(tiles: Sequence[Tile]) -> set[str]:
    """Ids of those that the shipped VQ-VAE was not trained on, as its card says it was trained."""
    settings = SampleSettings(side_px=128, mpp=0.5, tile_mpp=0.3315, held_out_share=0.25)
    sampler = TissueSampler([tiles[0].path.parent], settings)
    (source,) = sampler._sources
    return {path.stem for path in source._tiles[True]}


def _tiles() -> Path:
    data = test_data()
    if data is None or not (data / "tiles").is_dir():
        raise SystemExit("no tiles: name the folder that holds them in SLIDEKIN_TEST_DATA")
    return data / "tiles"
