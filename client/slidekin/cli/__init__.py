"""The command ``slidekin``: a module for each group of commands."""

from slidekin.cli._app import app, main

__all__ = ["app", "main"]
