"""Processes that measure."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import TextIO

from tests.paths import PROJECT


def environment() -> dict[str, str]:
    """The environment of a process that measures: the modules of this checkout."""
    paths = [str(PROJECT / part) for part in ("client", "server", ".")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def pass_on(line: str, out: TextIO) -> None:
    """Print a line, and keep it."""
    print(line, flush=True)
    print(line, file=out, flush=True)


def run_part(title: str, arguments: Sequence[str], out: TextIO) -> None:
    """Run a module in a process of its own and pass its lines on; where it fails, end.

    Args:
        title: What is measured, for people.
        arguments: Of ``python -m``.
        out: Where the lines are kept.
    """
    print(title, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            pass_on(line.rstrip("\n"), out)
    if process.returncode:
        sys.exit(f"{title}: ended with {process.returncode}")
