"""The whole calibration: draw tissue, encode it, measure, choose, write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slidekin_models.bundles.bundle import BUNDLE_NAME
from slidekin_models.calibration.card import Calibration, write_calibration
from slidekin_models.calibration.sample import read_patients, sample_tissue
from slidekin_models.calibration.threshold import Rule, choose, measure
from slidekin_models.errors import ManifestError
from slidekin_models.keys import texture_bits_of
from slidekin_models.runtimes.placement import Placement
from slidekin_models.runtimes.serving import load_texture
from slidekin_models.weights.manifest import TextureManifest


def calibrate_texture(
    directory: Path,
    tissue: Path,
    *,
    rule: Rule,
    share: float,
    patches: int,
    patients: Path | None,
    slide_mpp: Mapping[str, float],
    seed: int,
    tell: Callable[[int, int], None],
    say: Callable[[str], None],
) -> TextureManifest:
    """Set the threshold of a model directory from the tissue in a folder.

    Args:
        directory: Model directory of a texture network; runs in torch, fp32, on the CPU.
        tissue: Folder of slides or tiles.
        rule: How the threshold is chosen, see :func:`slidekin_models.calibration.threshold.choose`.
        share: Share of nearest neighbours, for the rule ``share``.
        patches: Most patches to draw.
        patients: CSV file with the columns ``slide`` and ``patient``.
        slide_mpp: Resolution of slides that do not state it, by file name.
        seed: Seed for the choice of patches.
        tell: Called with the number of patches done, and of all patches.
        say: Called with a line about files.

    Raises:
        ManifestError: It is not the directory of a texture network, or part of a bundle.
        SamplingError: The tissue cannot be used.
        WeightsError: The weights are missing or altered.
    """
    if (directory.parent / BUNDLE_NAME).exists():
        msg = (
            f"{directory}: is part of a bundle, which stays as it was built: calibrate the model "
            "directory that it was built from, and build it again (models build --replace)"
        )
        raise ManifestError(msg)
    encoder = load_texture(directory, Placement())
    known = read_patients(patients) if patients else {}
    sample = sample_tissue(
        tissue, patches=patches, seed=seed, patients=known, slide_mpp=slide_mpp, say=say
    )
    for reason in sample.skipped:
        say(f"passed over: {reason}")
    features: list[NDArray[np.generic]] = []
    for patch in sample.patches():
        tell(len(features), len(sample))
        features.append(encoder.encode(np.stack([patch]))[0])
    tell(len(features), len(sample))
    curves = measure(texture_bits_of(np.asarray(features, np.float32)), sample.groups)
    calibration = Calibration(
        curves=curves,
        threshold_bits=choose(curves, rule, share),
        rule=rule,
        share=share,
        tissue=sample.describe(),
        groups=len(set(sample.groups)),
        patients_known=patients is not None,
    )
    return write_calibration(directory, calibration)
