from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from slidekin.cli import app

NOBODY = ["--server", "127.0.0.1:1"]


@pytest.mark.parametrize("command", ["evaluate", "evaluate-tiles"])
def test_a_service_that_is_not_there_ends_with_1_and_one_line(command: str, tmp_path: Path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        Image.new("RGB", (64, 64)).save(tmp_path / label / "tile.png")
    what = "c" if command == "evaluate" else str(tmp_path)
    result = CliRunner().invoke(app, [command, what, *NOBODY])
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("error: no slidekin service answers at 127.0.0.1:1")
