"""The whole stack as a person starts it: `slidekin up`, with real networks behind a real Triton."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.paths import PROJECT

Slidekin = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def slidekin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slidekin]:
    """Runs `slidekin ARGUMENTS...` against a stack of this module's own; stops it at the end."""
    home = tmp_path_factory.mktemp("stack")
    environment = os.environ | {"SLIDEKIN_HOME": str(home)}

    def run(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [Path(sys.executable).parent / "slidekin", *map(str, arguments)],
            env=environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert done.returncode == 0, (
                f"slidekin {arguments} failed:\n{done.stdout}\n{done.stderr}"
            )
        return done

    try:
        # The profile sish-2022 takes images only where the networks run in fp32.
        run("up", "--models", PROJECT / "deploy/demo/models.yaml", "--precision", "fp32")
        yield run
    finally:
        run("down")
