"""Patches of tissue, drawn from slides and image tiles: for training, calibration and gates.

The i-th patch depends on nothing but the files, the settings and i. Whoever stops after a thousand
patches can go on with the next one later, from any thread, and two programs see the same tissue.

Slides are read with ``slidekin.slides``, by the same rules for resolution and tissue as ingest.
Nothing else of ``slidekin_models`` may do so: Triton runs it where ``slidekin`` is not installed.
"""

from __future__ import annotations

from slidekin_models.sampling.files import TILE_SUFFIXES, tissue_files
from slidekin_models.sampling.sampler import TissueSampler
from slidekin_models.sampling.settings import SampleSettings

__all__ = ["TILE_SUFFIXES", "SampleSettings", "TissueSampler", "tissue_files"]
