"""Writes a calibration to a model directory: manifest, card, curves as picture and numbers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from slidekin_models.calibration.threshold import Curves, Rule
from slidekin_models.weights.manifest import MANIFEST_NAME, TextureManifest, read_yaml, write_yaml
from slidekin_models.weights.verdicts import rejudged

CARD_NAME = "CARD.md"
NUMBERS_NAME = "calibration.json"
PICTURE_NAME = "calibration.png"

_BEGIN = "<!-- calibration: written by models calibrate -->"
_END = "<!-- end of calibration -->"


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold, and the measurements behind it."""

    curves: Curves
    threshold_bits: int
    rule: Rule
    share: float
    tissue: str
    """The sample in words."""
    groups: int
    """Number of different slides, tiles or patients in the sample."""
    patients_known: bool

    @property
    def note(self) -> str:
        """One sentence for the manifest."""
        low, median, high = self.curves.deciles()
        nearest, pairs = self.admitted(self.threshold_bits)
        rule = (
            f"least distance that admits {100 * self.share:g} % of nearest neighbours"
            if self.rule == "share"
            else "where the shares of nearest neighbours and of all pairs are furthest apart"
        )
        return (
            f"{rule}, among {self.tissue}; nearest neighbours: 10th percentile {low}, median "
            f"{median}, 90th {high} bits; it admits {100 * nearest:.1f} % of nearest neighbours "
            f"and {100 * pairs:.1f} % of all pairs"
        )

    def admitted(self, threshold_bits: int) -> tuple[float, float]:
        """Share of nearest neighbours and of all pairs up to a distance."""
        curves = self.curves
        return float(curves.nearest[threshold_bits]), float(curves.pairs[threshold_bits])


def write_calibration(directory: Path, calibration: Calibration) -> TextureManifest:
    """Write a calibration to a model directory; the manifest changes last, and in one step.

    Raises:
        ManifestError: The manifest can no longer be read.
    """
    manifest = read_yaml(directory / MANIFEST_NAME, TextureManifest)
    changed = manifest.model_copy(
        update={
            "hamming_threshold_bits": calibration.threshold_bits,
            "threshold_note": calibration.note,
            "runtimes": rejudged(manifest.runtimes, calibration.threshold_bits),
        }
    )
    _write_numbers(directory / NUMBERS_NAME, calibration, manifest)
    _draw(directory / PICTURE_NAME, calibration, manifest.name)
    _write_card(directory / CARD_NAME, calibration, changed)
    write_yaml(changed, directory / MANIFEST_NAME)
    return changed


def _write_numbers(path: Path, calibration: Calibration, manifest: TextureManifest) -> None:
    curves = calibration.curves
    content = {
        "network": manifest.name,
        "weights_sha256": manifest.weights_sha256,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "tissue": calibration.tissue,
        "patches": len(curves.nearest_bits),
        "groups": calibration.groups,
        "patients_known": calibration.patients_known,
        "pairs": curves.pair_count,
        "rule": calibration.rule,
        "share": calibration.share if calibration.rule == "share" else None,
        "threshold_bits": calibration.threshold_bits,
        "nearest_percentile_10_50_90_bits": curves.deciles(),
        "nearest_neighbours_admitted": [round(float(v), 6) for v in curves.nearest],
        "pairs_admitted": [round(float(v), 6) for v in curves.pairs],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _draw(path: Path, calibration: Calibration, name: str) -> None:
    # Heavy, and needed only here.
    from matplotlib.figure import Figure  # noqa: PLC0415

    curves, theta = calibration.curves, calibration.threshold_bits
    nearest, pairs = calibration.admitted(theta)
    thresholds = range(curves.bits + 1)
    figure = Figure(figsize=(7.5, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.step(
        thresholds,
        100 * curves.nearest,
        where="post",
        color="#1b6ca8",
        lw=2,
        label=f"nearest neighbours ({nearest:.0%} at {theta} bits)",
    )
    axes.step(
        thresholds,
        100 * curves.pairs,
        where="post",
        color="#c2571a",
        lw=2,
        label=f"all pairs ({pairs:.0%} at {theta} bits)",
    )
    axes.axvline(theta, color="#444444", lw=1, ls="--")
    axes.plot([theta, theta], [100 * nearest, 100 * pairs], "o", color="#444444", ms=5)
    end = min(curves.bits, round(1.05 * int((curves.pairs < 0.999).sum())))
    axes.set(
        xlim=(0, end),
        ylim=(0, 102),
        xlabel=f"Hamming distance (of {curves.bits} bits)",
        ylabel="admitted (%)",
        title=f"{name}: threshold {theta} bits",
    )
    axes.legend(loc="best", frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def _write_card(path: Path, calibration: Calibration, manifest: TextureManifest) -> None:
    """Write the card; in an existing card, change only the section on calibration."""
    section = f"{_BEGIN}\n{_section(calibration)}{_END}\n"
    if not path.exists():
        path.write_text(f"{_head(manifest)}\n{section}", encoding="utf-8")
        return
    card = path.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}\n?", re.DOTALL)
    if pattern.search(card):
        card = pattern.sub(lambda _: section, card, count=1)
    else:
        card = f"{card.rstrip()}\n\n{section}"
    path.write_text(card, encoding="utf-8")


def _head(manifest: TextureManifest) -> str:
    random = "\n**Random weights: it has learned nothing.**\n" if manifest.random_weights else ""
    return (
        f"# {manifest.name}\n\n"
        "A texture network of slidekin: it turns a patch of 512 micrometres into a vector of "
        f"{manifest.texture_bits} numbers, whose rises and falls are the bits of the patch's "
        f"texture.\n{random}\n"
        "| | |\n|---|---|\n"
        f"| architecture | {manifest.architecture} |\n"
        f"| weights | {manifest.source} |\n"
        f"| licence | {manifest.licence} |\n"
        f"| SHA-256 | `{manifest.weights_sha256}` |\n"
        f"| preprocessing | {manifest.preprocessing} |\n\n"
        "It finds tissue that looks alike. It makes no diagnosis, and no result of it may be "
        "taken for one.\n"
    )


def _section(calibration: Calibration) -> str:
    curves, theta = calibration.curves, calibration.threshold_bits
    rule = (
        f"the least distance that admits {100 * calibration.share:g} % of the nearest neighbours"
        if calibration.rule == "share"
        else "the distance at which the two shares are furthest apart"
    )
    apart = (
        "Neighbours and pairs of the same patient are left out."
        if calibration.patients_known
        else "Neighbours and pairs within one slide or tile are left out. Whose they are was not "
        "known: some neighbours may be of the same patient, which makes the threshold lower than "
        "a search over other patients would want it."
    )
    candidates = sorted({theta, *(curves.nearest_percentile(p) for p in (10, 25, 50, 75, 90, 99))})
    rows = "".join(_row(calibration, bits) for bits in candidates)
    return (
        f"## Hamming threshold: {theta} of {curves.bits} bits\n\n"
        f"Two textures count as alike up to this distance. It is {rule}, measured on "
        f"{len(curves.nearest_bits)} patches ({calibration.tissue}). {apart}\n\n"
        f"![Admitted against distance]({PICTURE_NAME})\n\n"
        "| threshold (bits) | nearest neighbours admitted (%) | all pairs admitted (%) |\n"
        f"|---|---|---|\n{rows}\n"
        f"Both curves in full: [{NUMBERS_NAME}]({NUMBERS_NAME}).\n"
    )


def _row(calibration: Calibration, bits: int) -> str:
    nearest, pairs = calibration.admitted(bits)
    shown = f"**{bits}**" if bits == calibration.threshold_bits else str(bits)
    return f"| {shown} | {100 * nearest:.1f} | {100 * pairs:.1f} |\n"
