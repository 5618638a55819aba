"""The client for programs with an event loop; `_sync` has the same modules."""

from slidekin._async.client import AsyncClient

__all__ = ["AsyncClient"]
