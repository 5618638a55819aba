"""The tissue on which a threshold is measured: patches, each with its slide or patient."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slidekin_models.decoding import decode_patch
from slidekin_models.errors import ImageRefusedError, SamplingError
from slidekin_models.sampling import TILE_SUFFIXES, SampleSettings, TissueSampler, tissue_files


@dataclass(frozen=True, slots=True)
class Sample:
    """The sample drawn from a folder."""

    tiles: tuple[Path, ...]
    """Each is scaled to one patch, as the service does with images."""
    slides: tuple[tuple[Path, TissueSampler], ...]
    per_slide: int
    groups: tuple[str, ...]
    """The patient of each patch if known, else its slide or tile; tiles come first."""
    skipped: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tiles) + len(self.slides) * self.per_slide

    def patches(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the patches, shape (1024, 1024, 3) each, in the order of ``groups``.

        Raises:
            SamplingError: A file cannot be read.
        """
        for tile in self.tiles:
            try:
                yield decode_patch(tile.read_bytes())
            except (OSError, ImageRefusedError) as error:
                msg = f"{tile}: {error}: take it out of the folder"
                raise SamplingError(msg) from error
        for _, sampler in self.slides:
            yield from sampler.patches(self.per_slide)

    def describe(self) -> str:
        """Describe the sample in words, for cards."""
        parts = []
        if self.tiles:
            parts.append(f"{len(self.tiles)} tiles, each scaled to 1024 px")
        if self.slides:
            parts.append(f"{self.per_slide} patches from each of {len(self.slides)} slides at 20x")
        return " and ".join(parts)


def sample_tissue(
    folder: Path,
    *,
    patches: int,
    seed: int,
    patients: Mapping[str, str],
    slide_mpp: Mapping[str, float],
    say: Callable[[str], None],
) -> Sample:
    """Find slides and tiles in ``folder`` and choose what is drawn.

    Args:
        folder: Searched with its subfolders.
        patches: Most patches in total.
        seed: Seed for the choice.
        patients: Patient of a slide or tile, by its file's name with or without suffix.
        slide_mpp: Micrometres per level-0 pixel of slides that do not state it, by file name.
        say: Called with a line about each slide that is opened, and each file that is skipped.

    Raises:
        SamplingError: The folder holds nothing usable.
    """
    if not folder.is_dir():
        msg = f"{folder}: there is no such folder: check the path"
        raise SamplingError(msg)
    rng = np.random.default_rng(seed)
    found = list(tissue_files(folder))
    tiles = [path for path in found if path.suffix.lower() in TILE_SUFFIXES]
    settings = SampleSettings(seed=seed, slide_mpp=slide_mpp)
    slides, skipped = [], []
    for path in found:
        if path not in tiles:
            try:
                slides.append((path, TissueSampler([path], settings, progress=say)))
            except SamplingError as error:
                skipped.append(str(error))
    if not tiles and not slides:
        why = "; ".join(skipped[:5]) or "neither slides nor image tiles there: check the path"
        msg = f"{folder}: {why}"
        raise SamplingError(msg)
    slides = [slides[i] for i in sorted(rng.permutation(len(slides))[:patches])]
    per_slide = max(1, patches // len(slides)) if slides else 0
    left = max(0, patches - per_slide * len(slides))
    tiles = [tiles[i] for i in sorted(rng.permutation(len(tiles))[:left])]
    names = [path.name for path in tiles] + [
        path.name for path, _ in slides for _ in range(per_slide)
    ]
    groups = tuple(patients.get(name, patients.get(Path(name).stem, name)) for name in names)
    return Sample(tuple(tiles), tuple(slides), per_slide, groups, tuple(skipped))


def read_patients(table: Path) -> dict[str, str]:
    """Read the columns ``slide`` and ``patient`` of a CSV file, such as the label file of ingest.

    Raises:
        SamplingError: The file cannot be read, or lacks a column.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"{table}: cannot be read as CSV: {error}"
        raise SamplingError(msg) from error
    if not rows or not {"slide", "patient"} <= set(rows[0]):
        msg = f"{table}: needs the columns slide and patient, separated by commas"
        raise SamplingError(msg)
    return {row["slide"].strip(): row["patient"].strip() for row in rows if row["patient"]}
