"""The gate: a runtime is served only after it was compared with torch in fp32 on real tissue.

It compares what the index would store (codes, keys and textures), not the floats behind them.
:mod:`slidekin_models.weights.verdicts` says how much a runtime may change, and why.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slidekin_models.errors import ManifestError
from slidekin_models.keys import SEED_SPACING, keys_of, texture_bits_of
from slidekin_models.runtimes.placement import Placement
from slidekin_models.runtimes.serving import PatchEncoder, load_texture, load_vqvae
from slidekin_models.weights.manifest import (
    MANIFEST_NAME,
    TextureManifest,
    VqVaeManifest,
    read_manifest,
    write_yaml,
)
from slidekin_models.weights.verdicts import (
    CodeFigures,
    TextureFigures,
    Verdict,
    faults_of_codes,
    faults_of_textures,
)

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Tissue:
    """The tissue on which runtimes are compared."""

    patches: Sequence[NDArray[np.uint8]]
    """Each (1024, 1024, 3), RGB."""
    sources: tuple[str, ...]
    """Slides and folders of tiles from which they were drawn."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result for one network in one runtime."""

    directory: Path
    """The network's model directory."""
    verdict: Verdict[CodeFigures] | Verdict[TextureFigures]
    faults: tuple[str, ...]
    """Why it was refused; empty if it was accepted."""


def model_directories(directory: Path) -> list[Path]:
    """Return the model directories of a bundle, or the given model directory itself.

    Raises:
        ManifestError: The directory is neither.
    """
    if (directory / MANIFEST_NAME).is_file():
        return [directory]
    networks = [directory / role for role in ("vqvae", "texture")]
    if all((network / MANIFEST_NAME).is_file() for network in networks):
        return networks
    msg = f"{directory}: neither a model directory ({MANIFEST_NAME}) nor a bundle: check the path"
    raise ManifestError(msg)


def judge(
    directory: Path, placements: Sequence[Placement], tissue: Tissue, progress: Progress
) -> list[Judgement]:
    """Compare runtimes of one network with the reference, and write the verdicts to its manifest.

    An earlier verdict about the same runtime, precision and device is replaced.

    Args:
        directory: Model directory.
        placements: The placements to judge.
        tissue: The tissue to judge them on.
        progress: Called with a line about each patch.

    Raises:
        ModelError: A network or its manifest cannot be read, or a placement cannot be served.
    """
    network = _read_network(directory)
    reference = _encode(network, Placement(), tissue, progress)
    judgements = []
    for placement in placements:
        figures, faults = network.compare(
            reference, _encode(network, placement, tissue, progress), placement.precision
        )
        device = placement.device.partition(":")[0]
        verdict: Verdict[Any] = network.record(
            runtime=placement.runtime,
            precision=placement.precision,
            device=device,
            accepted=not faults,
            figures=figures,
            patches=len(tissue.patches),
            tissue=list(tissue.sources),
            versions=_versions(placement.runtime),
            weights_sha256=network.manifest.weights_sha256,
        )
        judgements.append(Judgement(directory, verdict, tuple(faults)))
    _note(network, [judgement.verdict for judgement in judgements])
    return judgements


def code_figures(
    reference: NDArray[np.uint8], other: NDArray[np.uint8], semantic_order: list[int]
) -> CodeFigures:
    """Compare raw codes (n, 64, 64) of the same patches."""
    equal = (reference == other).mean(axis=(1, 2))
    shifts = np.abs(keys_of(other, semantic_order) - keys_of(reference, semantic_order))
    median, p95, most = np.quantile(shifts / SEED_SPACING, [0.5, 0.95, 1])
    return CodeFigures(
        equal_codes=_rounded(equal.mean()),
        fewest_equal_codes=_rounded(equal.min()),
        key_shift_median=_rounded(median),
        key_shift_p95=_rounded(p95),
        key_shift_most=_rounded(most),
    )


def texture_figures(reference: NDArray[np.float32], other: NDArray[np.float32]) -> TextureFigures:
    """Compare features (n, texture_bits) of the same patches."""
    distances = (texture_bits_of(reference) != texture_bits_of(other)).sum(axis=1)
    median, p95, most = np.quantile(distances, [0.5, 0.95, 1])
    return TextureFigures(
        bits_median=_rounded(median), bits_p95=_rounded(p95), bits_most=_rounded(most)
    )


@dataclass(frozen=True, slots=True)
class _Network:
    """The parts of the gate that depend on the kind of network."""

    directory: Path
    manifest: VqVaeManifest | TextureManifest
    load: Callable[..., PatchEncoder]
    compare: Callable[[Any, Any, str], tuple[Any, list[str]]]
    record: type[Any]


def _read_network(directory: Path) -> _Network:
    manifest = read_manifest(directory)
    if isinstance(manifest, VqVaeManifest):
        order = manifest.semantic_order

        def compare_codes(reference: Any, other: Any, precision: str) -> tuple[Any, list[str]]:  # noqa: ANN401
            figures = code_figures(reference, other, order)
            return figures, faults_of_codes(figures, precision)

        return _Network(directory, manifest, load_vqvae, compare_codes, Verdict[CodeFigures])
    threshold_bits = manifest.hamming_threshold_bits

    def compare_textures(reference: Any, other: Any, precision: str) -> tuple[Any, list[str]]:  # noqa: ANN401
        figures = texture_figures(reference, other)
        return figures, faults_of_textures(figures, precision, threshold_bits)

    return _Network(directory, manifest, load_texture, compare_textures, Verdict[TextureFigures])


def _encode(
    network: _Network, placement: Placement, tissue: Tissue, progress: Progress
) -> NDArray[Any]:
    encoder = network.load(network.directory, placement, unjudged=True)
    answers = []
    for number, patch in enumerate(tissue.patches, start=1):
        progress(
            f"{network.manifest.name}: {placement.runtime} {placement.precision}, patch {number} "
            f"of {len(tissue.patches)}"
        )
        # A copy: torch warns about arrays that are not writable.
        answers.append(encoder.encode(patch[None].copy()))
    return np.concatenate(answers)


def _note(network: _Network, verdicts: Sequence[Verdict[Any]]) -> None:
    """Write the verdicts into the manifest."""
    manifest = network.manifest
    judged = {(verdict.runtime, verdict.precision, verdict.device) for verdict in verdicts}
    kept = [
        verdict
        for verdict in manifest.runtimes
        if (verdict.runtime, verdict.precision, verdict.device) not in judged
    ]
    judged_manifest = manifest.model_copy(update={"runtimes": [*kept, *verdicts]})
    write_yaml(judged_manifest, network.directory / MANIFEST_NAME)


def _versions(runtime: str) -> dict[str, str]:
    packages = ("torch", "openvino") if runtime == "openvino" else ("torch",)
    return {package: importlib.metadata.version(package) for package in packages} | {
        "processor": _processor()
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _rounded(value: float) -> float:
    return round(float(value), 5)
