"""What reads bytes of strangers in its own process: one function for each reader.

Each takes bytes, gives them to a reader of the product, lets through the errors that the reader
promises, and checks what must hold of what was read. Anything else that is raised is a finding.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reader:
    """One of them."""

    read: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    """Inputs to begin with."""
    watched: tuple[str, ...]
    """Packages and modules whose branches are followed."""
    share: float = 1.0
    """Of a run's inputs, beside the others'."""
    most_bytes: int = 4096
    checksummed: bool = False
    """PNG files among its inputs get right checksums back after most changes."""


def scratch_folder(name: str) -> Path:
    """A folder for the files of readers, which goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix=f"slidekin-fuzz-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
