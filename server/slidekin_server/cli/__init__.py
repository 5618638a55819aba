"""The command ``slidekin-server``: a module for each group of commands."""

from slidekin_server.cli._app import main

__all__ = ["main"]
