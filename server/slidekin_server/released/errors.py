"""What can be wrong with released files."""

from __future__ import annotations


class ReleaseError(Exception):
    """The import cannot go on; names the file, what is wrong with it and the cure."""


class SlideRefusedError(ReleaseError):
    """One slide cannot be imported; the others can."""
