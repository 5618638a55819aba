"""The one place that turns exceptions into statuses: canonical codes with google.rpc details."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from functools import singledispatch
from typing import TypeVar

from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]

from slidekin_server.access.audit import AuditUnavailableError
from slidekin_server.access.errors import (
    IdentityProviderError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from slidekin_server.admission import (
    DeadlinePassedError,
    DrainingError,
    RefusedError,
    StreamIdleError,
)
from slidekin_server.api.validation import InvalidRequestError, Violation
from slidekin_server.archive.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    ModelChangedError,
    NotFoundError,
    NotLoadedError,
    PreconditionError,
)
from slidekin_server.archive.names import slide_name, snapshot_name
from slidekin_server.encoding import (
    EncoderBusyError,
    EncoderTimeoutError,
    EncoderUnavailableError,
    ImageRefusedError,
)
from slidekin_server.index import ParameterError
from slidekin_server.storage import (
    DamagedSlideError,
    DamagedSnapshotError,
    DamagedStoreError,
    SnapshotNotFoundError,
    StoreFullError,
    StoreInUseError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from slidekin_server.telemetry import get_logger

DOMAIN = "slidekin"
"""Of every ``ErrorInfo``."""

_LOADING_RETRY_S = 2.0
_STORE_RETRY_S = 5.0
_MODEL_RETRY_S = 0.1
# A status travels as trailing metadata, of which gRPC takes 8 KiB: more, and the client gets
# neither code nor reason. The message is there twice, once percent-encoded, the details in base64.
_MAX_MESSAGE_BYTES = 1600
"""As gRPC encodes it."""
_MAX_DETAILS_BYTES = 2400
_MAX_TEXT_BYTES = 500
"""Of one description or name among the details."""
_ENVELOPE_BYTES = 60
"""Around a detail, its type's name among them."""
_CUT = " ..."

_M = TypeVar("_M", bound=Message)

_log = get_logger(__name__)


class IncompleteStreamError(Exception):
    """A stream of patches was cut off before its end."""

    def __init__(self, name: str, *, announced: int | None, received: int) -> None:
        fault = (
            f"the stream broke off after {received} patches, without its end"
            if announced is None
            else f"its end announces {announced} patches and {received} came"
        )
        super().__init__(f"{name}: {fault}; nothing was stored, send the slide again")


@singledispatch
def status_of(error: BaseException) -> status_pb2.Status:
    """Return the status that a client gets for an exception.

    What is not foreseen becomes INTERNAL with an incident number; the log holds the exception
    under the same number, the client never sees it.
    """
    incident = secrets.token_hex(6)
    _log.error("incident", request_id=incident, exc_info=error)
    return _status(
        code_pb2.INTERNAL,
        f"the service failed; its log says why under request_id {incident}",
        "INTERNAL",
        metadata={"incident": incident},
    )


@status_of.register
def _(error: InvalidRequestError) -> status_pb2.Status:
    return _invalid(error.violations, error.reason)


@status_of.register
def _(error: InvalidArgumentError) -> status_pb2.Status:
    return _invalid([Violation(error.field, error.description)], error.reason)


@status_of.register
def _(error: ParameterError) -> status_pb2.Status:
    return _invalid([Violation(error.field, error.reason)], "INVALID_FIELD")


@status_of.register
def _(error: UnauthenticatedError) -> status_pb2.Status:
    return _status(code_pb2.UNAUTHENTICATED, str(error), error.reason)


@status_of.register
def _(error: IdentityProviderError) -> status_pb2.Status:
    return _unavailable(str(error), "IDENTITY_PROVIDER_UNAVAILABLE", error.retry_after_s)


@status_of.register
def _(error: AuditUnavailableError) -> status_pb2.Status:
    return _unavailable(str(error), "AUDIT_UNAVAILABLE", error.retry_after_s)


@status_of.register
def _(error: PermissionDeniedError) -> status_pb2.Status:
    return _status(
        code_pb2.PERMISSION_DENIED, str(error), "PERMISSION_DENIED", metadata=error.metadata
    )


@status_of.register
def _(error: NotFoundError) -> status_pb2.Status:
    resources = _resources(error.resource_type, error.names)
    return _status(code_pb2.NOT_FOUND, str(error), error.reason, *resources)


@status_of.register
def _(error: AlreadyExistsError) -> status_pb2.Status:
    resources = _resources(error.resource_type, error.names)
    return _status(code_pb2.ALREADY_EXISTS, str(error), error.reason, *resources)


@status_of.register
def _(error: PreconditionError) -> status_pb2.Status:
    failure = error_details_pb2.PreconditionFailure(
        violations=[
            error_details_pb2.PreconditionFailure.Violation(
                type=error.reason,
                subject=_shortened(error.subject, _MAX_TEXT_BYTES),
                description=_shortened(str(error), _MAX_TEXT_BYTES),
            )
        ]
    )
    return _status(code_pb2.FAILED_PRECONDITION, str(error), error.reason, failure)


@status_of.register
def _(error: NotLoadedError) -> status_pb2.Status:
    return _unavailable(str(error), error.reason, _LOADING_RETRY_S)


@status_of.register
def _(error: ModelChangedError) -> status_pb2.Status:
    return _unavailable(str(error), error.reason, _MODEL_RETRY_S)


@status_of.register
def _(error: RefusedError) -> status_pb2.Status:
    retry = _retry(error.retry_after_s)
    return _status(code_pb2.RESOURCE_EXHAUSTED, str(error), error.reason.value, retry)


@status_of.register
def _(error: DrainingError) -> status_pb2.Status:
    return _unavailable(str(error), error.reason.value, error.retry_after_s)


@status_of.register
def _(error: DeadlinePassedError) -> status_pb2.Status:
    return _status(code_pb2.DEADLINE_EXCEEDED, str(error), "DEADLINE_PASSED")


@status_of.register
def _(error: StreamIdleError) -> status_pb2.Status:
    return _status(code_pb2.DEADLINE_EXCEEDED, str(error), "STREAM_IDLE")


@status_of.register
def _(error: IncompleteStreamError) -> status_pb2.Status:
    return _status(code_pb2.DATA_LOSS, str(error), "INCOMPLETE_STREAM")


@status_of.register
def _(error: ImageRefusedError) -> status_pb2.Status:
    return _invalid([Violation("image", str(error))], "IMAGE_REFUSED")


@status_of.register
def _(error: EncoderUnavailableError) -> status_pb2.Status:
    message = f"images cannot be encoded now, codes still can be searched: {error}"
    return _unavailable(message, "ENCODER_UNAVAILABLE", error.retry_after_s)


@status_of.register
def _(error: EncoderBusyError) -> status_pb2.Status:
    retry = _retry(error.retry_after_s)
    return _status(code_pb2.RESOURCE_EXHAUSTED, str(error), "ENCODER_BUSY", retry)


@status_of.register
def _(error: EncoderTimeoutError) -> status_pb2.Status:
    return _status(code_pb2.DEADLINE_EXCEEDED, str(error), "ENCODER_TIMEOUT")


@status_of.register
def _(error: DamagedSlideError) -> status_pb2.Status:
    _log.error("damaged slide", slide_number=error.number)
    name = slide_name(error.collection, error.slide_id)
    message = (
        f"{name} is damaged on disk and is not served: add it again with replace set, or delete it"
    )
    resources = _resources("slidekin.v1.Slide", (name,))
    return _status(code_pb2.DATA_LOSS, message, "DAMAGED_SLIDE", *resources)


@status_of.register
def _(error: DamagedStoreError) -> status_pb2.Status:
    _log.error("damaged store", exc_info=error)
    message = (
        "the service's database is damaged: nothing was stored; its administrator should stop it, "
        "start it again and follow what it says"
    )
    return _status(code_pb2.DATA_LOSS, message, "DAMAGED_STORE")


@status_of.register
def _(error: SnapshotNotFoundError) -> status_pb2.Status:
    name = snapshot_name(error.name)
    message = f"there is no {name}; list snapshots to see what is there"
    resources = _resources("slidekin.v1.Snapshot", (name,))
    return _status(code_pb2.NOT_FOUND, message, "SNAPSHOT_NOT_FOUND", *resources)


@status_of.register
def _(error: DamagedSnapshotError) -> status_pb2.Status:
    _log.error("damaged snapshot", snapshot=error.snapshot.name)
    name = snapshot_name(error.snapshot.name)
    message = f"{name} is damaged ({error.cause}): it cannot be restored, use another one"
    resources = _resources("slidekin.v1.Snapshot", (name,))
    return _status(code_pb2.DATA_LOSS, message, "DAMAGED_SNAPSHOT", *resources)


@status_of.register
def _(_error: StoreInUseError) -> status_pb2.Status:
    message = "another service makes a snapshot in the same folder"
    return _unavailable(message, "SNAPSHOTS_IN_USE", _STORE_RETRY_S)


@status_of.register
def _(_error: StoreFullError) -> status_pb2.Status:
    message = "the service's disk is full: nothing was stored, searches still work"
    return _status(code_pb2.RESOURCE_EXHAUSTED, message, "STORE_FULL", _retry(_STORE_RETRY_S))


@status_of.register
def _(_error: StoreReadOnlyError) -> status_pb2.Status:
    message = "the service's disk is read-only: nothing was stored, searches still work"
    return _unavailable(message, "STORE_READ_ONLY", _STORE_RETRY_S)


@status_of.register
def _(error: StoreUnavailableError) -> status_pb2.Status:
    _log.error("store unavailable", exc_info=error)
    message = (
        "the service's store cannot be used now: what was asked for is not confirmed, repeat it "
        "later; searches still work"
    )
    return _unavailable(message, "STORE_UNAVAILABLE", _STORE_RETRY_S)


def _invalid(violations: Iterable[Violation], reason: str) -> status_pb2.Status:
    listed = list(violations)
    request = error_details_pb2.BadRequest(
        field_violations=_fitting(
            error_details_pb2.BadRequest.FieldViolation(
                field=_shortened(v.field, _MAX_TEXT_BYTES),
                description=_shortened(v.description, _MAX_TEXT_BYTES),
            )
            for v in listed
        )
    )
    message = "; ".join(f"{v.field}: {v.description}" for v in listed)
    return _status(code_pb2.INVALID_ARGUMENT, message, reason, request)


def _unavailable(message: str, reason: str, retry_after_s: float) -> status_pb2.Status:
    return _status(code_pb2.UNAVAILABLE, message, reason, _retry(retry_after_s))


def _retry(seconds: float) -> error_details_pb2.RetryInfo:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(round(seconds * 1000))
    return retry


def _resources(kind: str, names: tuple[str, ...]) -> list[error_details_pb2.ResourceInfo]:
    return _fitting(
        error_details_pb2.ResourceInfo(
            resource_type=kind, resource_name=_shortened(name, _MAX_TEXT_BYTES)
        )
        for name in names
    )


def _fitting(details: Iterable[_M]) -> list[_M]:
    """Return as many of the first details as a status has room for."""
    sizes = 0
    fitting = []
    for detail in details:
        sizes += detail.ByteSize() + _ENVELOPE_BYTES
        if sizes > _MAX_DETAILS_BYTES:
            break
        fitting.append(detail)
    return fitting


def _shortened(text: str, most: int) -> str:
    """Return a text of at most so many bytes, as gRPC percent-encodes it."""
    if len(text) * 3 <= most:
        return text
    room = most - len(_CUT)
    for place, character in enumerate(text):
        room -= 1 if " " <= character <= "~" and character != "%" else 3 * len(character.encode())
        if room < 0:
            return text[:place] + _CUT
    return text


def _status(
    code: int,
    message: str,
    reason: str,
    *details: Message,
    metadata: dict[str, str] | None = None,
) -> status_pb2.Status:
    status = status_pb2.Status(code=code, message=_shortened(message, _MAX_MESSAGE_BYTES))
    facts = {name: _shortened(value, _MAX_TEXT_BYTES) for name, value in (metadata or {}).items()}
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=facts)
    for detail in (info, *details):
        status.details.add().Pack(detail)
    return status
