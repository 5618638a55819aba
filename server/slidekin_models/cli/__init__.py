"""``slidekin-server models``: a module per group of commands; importing it registers them."""

from __future__ import annotations

from slidekin_models.cli import _bundles, _imports, _registry, _runtimes, _textures, _train
from slidekin_models.cli._app import app

__all__ = ["app"]

_COMMANDS = (_bundles, _registry, _textures, _imports, _train, _runtimes)
"""In the order in which the help shows them."""
