"""Processes that measure."""

from __future__ import annotations

import os

from tests.paths import PROJECT


def environment() -> dict[str, str]:
    """The environment of a process that measures: the modules of this checkout."""
    paths = [str(PROJECT / part) for part in ("client", "server", ".")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
