"""Whether an answer is one that a stranger may get."""

from __future__ import annotations

import re
from collections.abc import Sequence

import grpc
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from tests.fuzz.calls import PATIENCE_S, Answer, Ending, Request

from slidekin_server.api.errors import DOMAIN

_Code = grpc.StatusCode

_ALLOWED = frozenset(
    {
        _Code.OK,
        _Code.INVALID_ARGUMENT,
        _Code.NOT_FOUND,
        _Code.ALREADY_EXISTS,
        _Code.FAILED_PRECONDITION,
        _Code.RESOURCE_EXHAUSTED,
        _Code.DATA_LOSS,
        _Code.UNAUTHENTICATED,
        _Code.PERMISSION_DENIED,
    }
)
"""What the contract gives; never INTERNAL, UNKNOWN or ABORTED, whatever is sent."""
_BY_GRPC = {
    _Code.CANCELLED: "the client went away",
    _Code.DEADLINE_EXCEEDED: "the client's deadline was over",
}
"""Said by gRPC itself, without our details, where the client asked for it."""
_REASON = re.compile(r"[A-Z][A-Z0-9_]*[A-Z0-9]\Z")
_LEAKS = (
    re.compile(rb"Traceback"),
    re.compile(rb"\.py\b"),
    re.compile(rb"site-packages|/usr/lib|/home/|0x[0-9a-f]{8,}"),
    re.compile(rb"\b[A-Z][A-Za-z]+(?:Error|Exception|Warning)\b"),
    re.compile(rb"<class |object at |NoneType|numpy|sqlite|SQL"),
)
"""Signs of the inside."""
_TOO_LARGE = "message larger than max"
_MAX_TRAILER_BYTES = 8 * 1024


def faults(request: Request, answer: Answer, secrets: Sequence[bytes] = ()) -> list[str]:
    """Everything that is wrong with an answer.

    Args:
        request: What was asked.
        answer: What came back.
        secrets: Texts that no answer may hold, such as folders of the service.
    """
    found = []
    if answer.seconds > PATIENCE_S - 1:
        found.append(f"hang: it took {answer.seconds:.1f} s")
    if answer.code is _Code.OK:
        return found
    text = answer.message.encode() + b"\n" + answer.details
    sent = b"\n".join(request.messages)
    for sign in (*_LEAKS, *(re.compile(re.escape(secret)) for secret in secrets)):
        for match in sign.finditer(text):
            if match.group() not in sent:
                found.append(f"leak: {match.group().decode(errors='replace')!r}")
                break
    found += _wrong_status(request, answer)
    return found


def _wrong_status(  # noqa: PLR0911  a case each
    request: Request, answer: Answer
) -> list[str]:
    if answer.code in _BY_GRPC and _asked_for(request, answer.code):
        return []
    if request.method is None:
        return [] if answer.code is _Code.UNIMPLEMENTED else [f"code: {answer.code.name}"]
    if not request.path.startswith("/slidekin."):  # gRPC's own services answer in their own way
        known = {_Code.NOT_FOUND, _Code.INVALID_ARGUMENT, _Code.UNIMPLEMENTED, _Code.CANCELLED}
        return [] if answer.code in known else [f"code: {answer.code.name}: {answer.message}"]
    if answer.code is _Code.RESOURCE_EXHAUSTED and _TOO_LARGE in answer.message:
        return []  # gRPC's own limit: nothing of ours has seen the message
    if not _one_message(request) and answer.code is _Code.UNIMPLEMENTED:
        return []  # gRPC's own answer to none, or to more than one
    if answer.code not in _ALLOWED:
        return [f"code: {answer.code.name}: {answer.message}"]
    return _wrong_details(answer)


def _asked_for(request: Request, code: grpc.StatusCode) -> bool:
    if code is _Code.CANCELLED:
        return request.ending is Ending.CANCEL
    return request.ending is Ending.SILENCE or request.timeout_s < PATIENCE_S


def _one_message(request: Request) -> bool:
    method = request.method
    return method is None or method.takes_stream or len(request.messages) == 1


def _wrong_details(answer: Answer) -> list[str]:
    status = status_pb2.Status.FromString(answer.details)
    info = error_details_pb2.ErrorInfo()
    if not any(detail.Unpack(info) for detail in status.details):
        return [f"details: {answer.code.name} comes without a reason: {answer.message}"]
    found = []
    if info.domain != DOMAIN or not _REASON.match(info.reason):
        found.append(f"details: reason {info.reason!r} of {info.domain!r}")
    if status.code != answer.code.value[0]:
        found.append(f"details: code {status.code} beside {answer.code.name}")
    if not answer.message:
        found.append(f"details: {info.reason} says nothing")
    if len(answer.details) > _MAX_TRAILER_BYTES:
        found.append(f"details: {len(answer.details)} bytes")
    return found
