"""What is needed of ``slidekin_models``, which is not installed where Triton runs.

The package is taken from the source tree beside this folder, and needs no torch for this.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "server"))

from slidekin_models.errors import ModelError
from slidekin_models.plain_yaml import load_yaml
from slidekin_models.runtimes.choice import AUTO, Machine, choose_runtime

PACKAGE = Path(__file__).resolve().parents[2] / "server" / "slidekin_models"
"""The folder of the package."""
__all__ = ["AUTO", "PACKAGE", "Machine", "ModelError", "choose_runtime", "load_yaml"]
