"""What can go wrong with an archive.

ArchiveError
├─ NotFoundError             there is no such collection or slide
├─ AlreadyExistsError        the name is taken by something else
├─ PreconditionError         the archive's state forbids the operation
│  ├─ FingerprintMismatchError   codes of one model, collection of another
│  └─ ModelNotServedError        images for a collection whose model is not served
├─ InvalidArgumentError      a value that is never valid, with the field that holds it
├─ ModelChangedError         the collection was given another model in the meantime
└─ NotLoadedError            the indices are not loaded yet

Each has a stable ``reason`` that programs may compare; messages are for people and name the cure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

ResourceType = Literal["slidekin.v1.Collection", "slidekin.v1.Slide"]


class ArchiveError(Exception):
    """Root of the archive's errors."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class _ResourceError(ArchiveError):
    def __init__(
        self, message: str, *, reason: str, resource_type: ResourceType, names: tuple[str, ...]
    ) -> None:
        super().__init__(message, reason=reason)
        self.resource_type: ResourceType = resource_type
        self.names = names


class NotFoundError(_ResourceError):
    """The named collections or slides do not exist."""


class AlreadyExistsError(_ResourceError):
    """The name is taken by something other than what was to be added."""


class PreconditionError(ArchiveError):
    """The state of the archive forbids the operation."""

    def __init__(self, message: str, *, reason: str, subject: str) -> None:
        super().__init__(message, reason=reason)
        self.subject = subject


class FingerprintMismatchError(PreconditionError):
    """Codes of one model were offered to a collection of another."""

    def __init__(self, *, collection: str, held: str, offered: str, cure: str) -> None:
        stated = offered or "none"
        super().__init__(
            f"{collection} holds codes of model {held}, these are of model {stated}; {cure}",
            reason="MODEL_FINGERPRINT_MISMATCH",
            subject=collection,
        )
        self.held = held
        self.offered = offered


class ModelNotServedError(PreconditionError):
    """Images were offered to a collection whose model is not served."""

    def __init__(self, *, collection: str, held: str, served: Iterable[str]) -> None:
        super().__init__(
            f"{collection} holds codes of model {held}, which this service does not serve (it "
            f"serves {', '.join(served)}): send codes of that model, have it served, or reindex "
            "the collection with one that is",
            reason="MODEL_NOT_SERVED",
            subject=collection,
        )


class InvalidArgumentError(ArchiveError):
    """A value that no state of the archive would admit."""

    def __init__(self, field: str, description: str, *, reason: str = "INVALID_FIELD") -> None:
        super().__init__(f"{field}: {description}", reason=reason)
        self.field = field
        self.description = description


class ModelChangedError(ArchiveError):
    """A collection was reindexed while patches were being encoded with its old model."""

    def __init__(self, collection: str) -> None:
        super().__init__(
            f"{collection} was given another model meanwhile: nothing was stored or left half, ask "
            "again",
            reason="MODEL_CHANGED",
        )


class NotLoadedError(ArchiveError):
    """The indices are still being built from the store."""

    def __init__(self) -> None:
        super().__init__("the indices are still being loaded; try again shortly", reason="LOADING")


def collection_not_found(name: str) -> NotFoundError:
    """Return the error for a missing collection."""
    return NotFoundError(
        f"there is no {name}; create it, or list collections to see what is held",
        reason="COLLECTION_NOT_FOUND",
        resource_type="slidekin.v1.Collection",
        names=(name,),
    )


def slides_not_found(names: tuple[str, ...]) -> NotFoundError:
    """Return the error for missing slides."""
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return NotFoundError(
        f"not held: {shown}; list the collection's slides to see what is",
        reason="SLIDE_NOT_FOUND",
        resource_type="slidekin.v1.Slide",
        names=names,
    )
