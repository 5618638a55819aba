"""From a gRPC status to the SDK's errors."""

from __future__ import annotations

from typing import Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from slidekin._exceptions import (
    AlreadyExistsError,
    CallCancelledError,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    ServiceError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)

_DETAILS_KEY = "grpc-status-details-bin"
_STATUS_LOST = "Internal error from Core"
"""What grpc.aio says in place of the status of a stream that ended while it was being sent."""

_BY_CODE: dict[grpc.StatusCode, type[ServiceError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.ABORTED: FailedPreconditionError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.CANCELLED: CallCancelledError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
}


class _Failed(Protocol):
    """What the errors of grpc and of grpc.aio have in common."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> object: ...


def translate(error: _Failed, *, target: str) -> ServiceError:
    """Turns the error of a call into one of ours, with everything the service said.

    Args:
        error: A ``grpc.RpcError`` of a call, or a ``grpc.aio.AioRpcError``.
        target: Address of the service, for messages.
    """
    code = error.code()
    status = _rich_status(error)
    message = (error.details() or "").strip() or code.name
    reason, resource = "", ""
    metadata: dict[str, str] = {}
    violations: list[FieldViolation] = []
    retry_after_s: float | None = None
    for packed in status.details:
        info = error_details_pb2.ErrorInfo()
        bad = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        named = error_details_pb2.ResourceInfo()
        if packed.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif packed.Unpack(bad):
            violations += [FieldViolation(v.field, v.description) for v in bad.field_violations]
        elif packed.Unpack(retry):
            retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
        elif packed.Unpack(named):
            resource = named.resource_name
    if code is grpc.StatusCode.INTERNAL and message == _STATUS_LOST:
        # Mostly a refusal of a busy service, which says when to come again: it may be repeated.
        code = grpc.StatusCode.UNAVAILABLE
        message = (
            f"the service at {target} ended the stream before all of it was sent, and gRPC lost "
            "the reason: try again, or use the synchronous Client, which keeps it"
        )
    elif code is grpc.StatusCode.UNAVAILABLE and not status.details:
        # The channel's own words ("failed to connect to all addresses ...") help nobody.
        message = (
            f"no slidekin service answers at {target}: start one with `slidekin up`, or name "
            f"another address ({_short(message)})"
        )
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED and not status.details:
        message = f"the service at {target} did not answer in time; allow more with a time-out"
    return _BY_CODE.get(code, InternalError)(
        message,
        code=code.name,
        reason=reason,
        metadata=metadata,
        violations=tuple(violations),
        resource=resource,
        retry_after_s=retry_after_s,
    )


def _rich_status(error: _Failed) -> status_pb2.Status:
    """Reads google.rpc.Status from the trailers; empty where there is none to read."""
    status = status_pb2.Status()
    trailers = error.trailing_metadata()
    for key, value in trailers or ():  # type: ignore[attr-defined]
        if key == _DETAILS_KEY:
            try:
                status.ParseFromString(value)
            except DecodeError:
                return status_pb2.Status()
    return status


def _short(details: str) -> str:
    """The telling end of grpc's nested connection messages."""
    return details.rsplit("; last error: ", 1)[-1].removeprefix("UNKNOWN: ")[:160]
