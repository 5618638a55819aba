"""A status reaches the client whole, however much there is to say."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

from slidekin_server.api.errors import status_of
from slidekin_server.api.interceptors.errors import ErrorMapper
from slidekin_server.api.interceptors.layers import CallLayers
from slidekin_server.api.validation import InvalidRequestError, Violation
from slidekin_server.archive.errors import NotFoundError

METHOD = "/test.Errors/Raise"


def _many_violations(text: str) -> InvalidRequestError:
    return InvalidRequestError(*(Violation(f"patches[{i}].{text}", text) for i in range(500)))


ERRORS = {
    "many violations": _many_violations("is wrong"),
    "many long violations": _many_violations("x" * 5000),
    "text that is percent-encoded": _many_violations("Präparat 検体 %" * 200),
    "many long names": NotFoundError(
        "missing",
        reason="SLIDE_NOT_FOUND",
        resource_type="slidekin.v1.Slide",
        names=tuple("n" * 900 for _ in range(300)),
    ),
}


async def _answered(error: Exception) -> aio.AioRpcError:
    async def fail(_request, _context):
        raise error

    handler = grpc.unary_unary_rpc_method_handler(
        fail, request_deserializer=bytes, response_serializer=bytes
    )
    server = aio.server(interceptors=[CallLayers([ErrorMapper()])])
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("test.Errors", {"Raise": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(aio.AioRpcError) as caught:
                await channel.unary_unary(METHOD)(b"")
    finally:
        await server.stop(None)
    return caught.value


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ERRORS)
async def test_code_reason_and_details_arrive_whatever_their_length(name):
    expected = status_of(ERRORS[name])
    error = await _answered(ERRORS[name])
    assert error.code().value[0] == expected.code
    status = rpc_status.from_call(error)
    assert status == expected
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason


def test_what_is_short_is_told_whole():
    status = status_of(_many_violations("is wrong"))
    assert status.message.startswith("patches[0].is wrong: is wrong; ")
    assert status.message.endswith(" ...")
    request = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(request)
    assert request.field_violations[0].field == "patches[0].is wrong"
