"""Trained models in the package: one folder each, with a card beside the weights."""

from __future__ import annotations

from pathlib import Path

from slidekin_models.errors import ManifestError
from slidekin_models.weights.manifest import MANIFEST_NAME

_FOLDER = Path(__file__).parent


def shipped_models() -> list[str]:
    """Return their names."""
    return sorted(path.parent.name for path in _FOLDER.glob(f"*/{MANIFEST_NAME}"))


def shipped_manifest(name: str) -> Path:
    """Return the path of a shipped model's manifest.

    Raises:
        ManifestError: There is no such model.
    """
    known = shipped_models()
    if name not in known:
        msg = f"{name!r} does not come with this version; known are {', '.join(known) or 'none'}"
        raise ManifestError(msg)
    return _FOLDER / name / MANIFEST_NAME
