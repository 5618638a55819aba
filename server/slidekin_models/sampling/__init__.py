"""Patches of tissue, drawn from slides and image tiles: for training, calibration and gates.

The i-th patch depends only on the files, the settings and i. A program that stops after a thousand
patches can continue with the next one later, from any thread, and two programs see the same tissue.

Slides are read with ``slidekin.slides``, by the same rules for resolution and tissue as ingest. No
other part of ``slidekin_models`` may import it: Triton runs them where ``slidekin`` is not
installed.
"""

from __future__ import annotations

from slidekin_models.sampling.files import TILE_SUFFIXES, tissue_files
from slidekin_models.sampling.sampler import TissueSampler
from slidekin_models.sampling.settings import SampleSettings

__all__ = ["TILE_SUFFIXES", "SampleSettings", "TissueSampler", "tissue_files"]
