"""Errors of the index.

IndexFailure
├── SlideExistsError
└── SlideNotFoundError
ParameterError (a ValueError)
"""

from __future__ import annotations


class IndexFailure(Exception):  # noqa: N818 - IndexError is Python's own
    """Root of the index's errors about its content."""


class SlideExistsError(IndexFailure):
    """A slide of this number is in the index already."""

    def __init__(self, number: int) -> None:
        super().__init__(f"slide number {number} is in the index already; replace it instead")
        self.number = number


class SlideNotFoundError(IndexFailure):
    """No slide of this number is in the index."""

    def __init__(self, number: int) -> None:
        super().__init__(f"slide number {number} is not in the index")
        self.number = number


class ParameterError(ValueError):
    """An argument does not fit; ``field`` names it, ``reason`` says what would fit."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
