"""Trained models that come with the package: a folder each, with a card beside the weights."""

from __future__ import annotations

from pathlib import Path

from slidekin_models.errors import ManifestError
from slidekin_models.weights.manifest import MANIFEST_NAME

_FOLDER = Path(__file__).parent


def shipped_models() -> list[str]:
    """Their names."""
    return sorted(path.parent.name for path in _FOLDER.glob(f"*/{MANIFEST_NAME}"))


def shipped_manifest(name: str) -> Path:
    """The manifest of a model that comes with the package.

    Raises:
        ManifestError: There is none of that name.
    """
    known = shipped_models()
    if name not in known:
        msg = f"{name!r} does not come with this version; known are {', '.join(known) or 'none'}"
        raise ManifestError(msg)
    return _FOLDER / name / MANIFEST_NAME
