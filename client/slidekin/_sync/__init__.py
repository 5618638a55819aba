"""The client for programs that wait for their answers; `_async` has the same modules."""

from slidekin._sync.client import Client

__all__ = ["Client"]
