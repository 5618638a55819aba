"""Where tests find the data that does not travel with the project.

Real slides and golden files are kept outside the repository. A folder named by the environment
wins; else a folder beside the checkout is used where it exists; else the answer is None and the
test says what it missed.
"""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def _folder(variable: str, beside: str) -> Path | None:
    named = os.environ.get(variable)
    path = Path(named) if named else PROJECT.parent / "shared" / beside
    if path.is_dir():
        return path
    if named:
        msg = f"{variable} names {named}, which is not a folder"
        raise FileNotFoundError(msg)
    return None


def test_data() -> Path | None:
    """Real slides and labelled tiles (``SLIDEKIN_TEST_DATA``)."""
    return _folder("SLIDEKIN_TEST_DATA", "data")


def golden_dir() -> Path | None:
    """Inputs and outputs of the published program (``SLIDEKIN_GOLDEN``)."""
    return _folder("SLIDEKIN_GOLDEN", "golden")


test_data.__test__ = False  # type: ignore[attr-defined]  # pytest would collect it as a test
