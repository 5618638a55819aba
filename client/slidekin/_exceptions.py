"""What the SDK raises.

SlidekinError
├── SlideError
│   ├── SlideNotFoundError
│   ├── NotASlideError
│   ├── UnreadableSlideError
│   ├── UnknownResolutionError
│   ├── TooCoarseError
│   ├── NoTissueError
│   ├── RegionError
│   └── OtherSlideError
└── ServiceError
    ├── InvalidRequestError         INVALID_ARGUMENT, OUT_OF_RANGE
    ├── NotFoundError               NOT_FOUND
    ├── AlreadyExistsError          ALREADY_EXISTS
    ├── FailedPreconditionError     FAILED_PRECONDITION, ABORTED
    ├── AccessDeniedError
    │   ├── UnauthenticatedError    UNAUTHENTICATED
    │   └── PermissionDeniedError   PERMISSION_DENIED
    ├── ResourceExhaustedError      RESOURCE_EXHAUSTED
    ├── UnavailableError            UNAVAILABLE
    ├── DeadlineExceededError       DEADLINE_EXCEEDED
    ├── CallCancelledError          CANCELLED
    ├── UnimplementedError          UNIMPLEMENTED
    └── InternalError               INTERNAL, UNKNOWN, DATA_LOSS
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class SlidekinError(Exception):
    """The root of every error of this package."""


class SlideError(SlidekinError):
    """A slide cannot be used; the message names it and the cure.

    Attributes:
        path: The slide, as the caller named it.
    """

    def __init__(self, message: str, *, path: Path) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


class SlideNotFoundError(SlideError):
    """There is no such file or folder."""


class NotASlideError(SlideError):
    """OpenSlide knows no format that looks like this file."""


class UnreadableSlideError(SlideError):
    """It is a slide, but damaged, cut short, or of a kind OpenSlide refuses."""


class UnknownResolutionError(SlideError):
    """Nothing believable says how many micrometres a pixel covers."""


class TooCoarseError(SlideError):
    """The slide was scanned (or exported) too coarsely for patches at 20x."""


class NoTissueError(SlideError):
    """No tissue, or too little of it for a single patch."""


class RegionError(SlideError):
    """The region asked for is empty or reaches outside the slide."""


class OtherSlideError(SlideError):
    """The file is not, or not for certain, the one that a held slide was added from."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """What is wrong with one field of a request."""

    field: str
    """Path of the field, for example ``options.k``."""
    description: str
    """What is wrong with it."""


class ServiceError(SlidekinError):
    """The service, or the way to it, refused or failed a call.

    Attributes:
        message: What happened and the cure, in a sentence or two.
        code: Name of the gRPC status, for example ``NOT_FOUND``.
        reason: Stable name of the cause for programs; empty where the service gave none.
        metadata: Facts beside the reason.
        violations: What is wrong with which field.
        resource: Name of what the call was about; empty where the service gave none.
        retry_after_s: When to try again, in seconds; None where the service did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: tuple[FieldViolation, ...] = (),
        resource: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.violations = violations
        self.resource = resource
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        told = [
            f"{violation.field}: {violation.description}"
            for violation in self.violations
            if violation.description not in self.message
        ]
        return f"{self.message} ({'; '.join(told)})" if told else self.message


class InvalidRequestError(ServiceError):
    """A field of the request is wrong, whatever the service holds."""


class NotFoundError(ServiceError):
    """What the request names is not there."""


class AlreadyExistsError(ServiceError):
    """Something else of that name is there already."""


class FailedPreconditionError(ServiceError):
    """The state of the collection, the slide or the service does not admit the call."""


class AccessDeniedError(ServiceError):
    """The caller is not known, or may not do this."""


class UnauthenticatedError(AccessDeniedError):
    """The service asks who is calling, and the call did not show it or shows something wrong."""


class PermissionDeniedError(AccessDeniedError):
    """The caller is known and may not do this; ``metadata`` says who, what and where."""


class ResourceExhaustedError(ServiceError):
    """A limit or a queue is full."""


class UnavailableError(ServiceError):
    """The service, or the networks behind it, cannot be reached."""


class DeadlineExceededError(ServiceError):
    """The answer did not come in time."""


class CallCancelledError(ServiceError):
    """The call was given up before its answer."""


class UnimplementedError(ServiceError):
    """The service does not know this call: it is of another version."""


class InternalError(ServiceError):
    """The service failed; its log says more."""
