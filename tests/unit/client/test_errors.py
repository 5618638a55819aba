from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from tests.unit.client.recorder import Recorder, serving

from slidekin import (
    AlreadyExistsError,
    CallCancelledError,
    Client,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    Retry,
    ServiceError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)
from slidekin._rpc_errors import translate
from slidekin.v1 import slides_pb2

KINDS = {
    "CANCELLED": CallCancelledError,
    "UNKNOWN": InternalError,
    "INVALID_ARGUMENT": InvalidRequestError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
    "NOT_FOUND": NotFoundError,
    "ALREADY_EXISTS": AlreadyExistsError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "RESOURCE_EXHAUSTED": ResourceExhaustedError,
    "FAILED_PRECONDITION": FailedPreconditionError,
    "ABORTED": FailedPreconditionError,
    "OUT_OF_RANGE": InvalidRequestError,
    "UNIMPLEMENTED": UnimplementedError,
    "INTERNAL": InternalError,
    "UNAVAILABLE": UnavailableError,
    "DATA_LOSS": InternalError,
    "UNAUTHENTICATED": UnauthenticatedError,
}
ONCE = Retry(attempts=1)
LOST_STATUS = "Internal error from Core"


def _raised(behaviour: Any, retry: Retry = ONCE) -> ServiceError:
    with (
        serving(Recorder(GetSlide=behaviour)) as target,
        Client(target, retry=retry) as client,
        pytest.raises(ServiceError) as caught,
    ):
        client.get_slide("s", collection="a")
    return caught.value


def test_every_status_but_ok_has_its_error():
    assert set(KINDS) | {"OK"} == {code.name for code in grpc.StatusCode}


@pytest.mark.parametrize("code", KINDS)
def test_a_status_becomes_its_error(code: str):
    def fail(_request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode[code], "what happened")

    error = _raised(fail)
    assert type(error) is KINDS[code]
    assert error.code == code
    assert "what happened" in str(error) or code == "DEADLINE_EXCEEDED"


def test_an_error_carries_all_that_the_service_said():
    status = status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="Triton is away")
    details = [
        error_details_pb2.ErrorInfo(
            reason="ENCODER_UNAVAILABLE", domain="slidekin", metadata={"since": "noon"}
        ),
        error_details_pb2.RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000)),
        error_details_pb2.ResourceInfo(resource_name="collections/a/slides/s"),
        error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field="k", description="too large")
            ]
        ),
    ]
    for detail in details:
        status.details.add().Pack(detail)

    def fail(_request: Any, context: grpc.ServicerContext) -> Any:
        context.abort_with_status(rpc_status.to_status(status))

    error = _raised(fail)
    assert isinstance(error, UnavailableError)
    assert error.message == "Triton is away"
    assert error.reason == "ENCODER_UNAVAILABLE"
    assert error.metadata == {"since": "noon"}
    assert error.retry_after_s == 2.5
    assert error.resource == "collections/a/slides/s"
    assert error.violations == (FieldViolation("k", "too large"),)
    assert str(error) == "Triton is away (k: too large)"


def test_nobody_there_names_the_address_and_the_cure():
    with Client("127.0.0.1:1", retry=ONCE) as client, pytest.raises(UnavailableError) as caught:
        client.status()
    assert "127.0.0.1:1" in str(caught.value)
    assert "slidekin up" in str(caught.value)


def test_a_read_is_made_again_until_the_service_is_there():
    answers = iter([False, False, True])

    def flaky(_request: Any, context: grpc.ServicerContext) -> Any:
        if not next(answers):
            context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
        return slides_pb2.GetSlideResponse(slide=slides_pb2.Slide(label="found"))

    retry = Retry(initial_backoff_s=0.001)
    with serving(Recorder(GetSlide=flaky)) as target, Client(target, retry=retry) as client:
        assert client.get_slide("s", collection="a").label == "found"


def test_a_delete_is_made_once():
    def fail(_request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNAVAILABLE, "perhaps done, perhaps not")

    recorder = Recorder(DeleteSlide=fail)
    with serving(recorder) as target, Client(target) as client, pytest.raises(UnavailableError):
        client.delete_slide("s", collection="a")
    assert recorder.calls == ["DeleteSlide"]


def test_a_status_that_grpc_lost_may_be_repeated():
    """As grpc.aio has it where a stream was refused while it was still being sent."""
    lost = grpc.aio.AioRpcError(
        grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), grpc.aio.Metadata(), LOST_STATUS
    )
    error = translate(lost, target="here:1")
    assert isinstance(error, UnavailableError)
    assert "gRPC lost the reason" in str(error)
