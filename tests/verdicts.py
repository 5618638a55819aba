"""Verdicts of the gate, written by hand: for tests of what follows from them."""

from __future__ import annotations

from pathlib import Path

from slidekin_models.weights.manifest import (
    MANIFEST_NAME,
    TextureManifest,
    VqVaeManifest,
    read_yaml,
    write_yaml,
)
from slidekin_models.weights.verdicts import CodeFigures, TextureFigures, Verdict

_CODES = CodeFigures(
    equal_codes=1, fewest_equal_codes=1, key_shift_median=0, key_shift_p95=0, key_shift_most=0
)
_TEXTURES = TextureFigures(bits_median=0, bits_p95=0, bits_most=0)


def accept(directory: Path, runtime: str, precision: str, *, accepted: bool = True) -> None:
    """Note in a model directory what the gate would have found."""
    path = directory / MANIFEST_NAME
    is_vqvae = directory.name == "vqvae"
    manifest = read_yaml(path, VqVaeManifest if is_vqvae else TextureManifest)
    kind, figures = (
        (Verdict[CodeFigures], _CODES) if is_vqvae else (Verdict[TextureFigures], _TEXTURES)
    )
    verdict = kind(
        runtime=runtime,
        precision=precision,
        device="cpu",
        accepted=accepted,
        figures=figures,
        patches=1,
        tissue=["none: written by a test"],
        versions={},
        weights_sha256=manifest.weights_sha256,
    )
    write_yaml(manifest.model_copy(update={"runtimes": [*manifest.runtimes, verdict]}), path)
