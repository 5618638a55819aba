"""Every exception becomes a status that says what a client may know, over a real socket."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from io import StringIO

import grpc
import pytest
from grpc import aio
from prometheus_client import CollectorRegistry
from tests.service_calls import Failure

from slidekin_server.api.interceptors.errors import ErrorMapper
from slidekin_server.api.interceptors.layers import CallLayers
from slidekin_server.api.interceptors.observer import CallObserver
from slidekin_server.encoding import (
    EncoderBusyError,
    EncoderFaultError,
    EncoderTimeoutError,
    EncoderUnavailableError,
)
from slidekin_server.index import ParameterError
from slidekin_server.storage import StoreFullError, StoreReadOnlyError, StoreUnavailableError
from slidekin_server.telemetry import Metrics, configure_logging

_SECRET = "Mustermann"  # a patient's name, say


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What is logged meanwhile."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = StringIO()
    configure_logging("info", "json", stream)
    yield stream
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


async def _cancelled() -> None:
    """Wait for work that was cancelled by someone other than the caller."""
    work = asyncio.ensure_future(asyncio.sleep(60))
    asyncio.get_running_loop().call_soon(work.cancel)
    await work


async def _drained(answers: AsyncIterator[bytes]) -> None:
    async for _ in answers:
        pass


def _raiser(error: BaseException) -> Callable[[], object]:
    async def fail() -> None:
        raise error

    return fail


def call(kind: str, fail: Callable[[], object]) -> Failure:
    """Call a handler of a kind that fails, through the service's interceptors."""

    async def coroutine(_request: object, _context: object) -> bytes:
        await fail()
        return b""

    async def generator(_request: object, _context: object) -> AsyncIterator[bytes]:
        yield b"first"
        await fail()

    handler = generator if kind.endswith("_stream") else coroutine
    make = getattr(grpc, f"{kind}_rpc_method_handler")

    async def run() -> Failure:
        metrics = Metrics(CollectorRegistry())
        server = aio.server(interceptors=[CallLayers([CallObserver(metrics), ErrorMapper()])])
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("test.Service", {"Call": make(handler)})]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = getattr(channel, kind)("/test.Service/Call")
                request = iter([b""]) if kind.startswith("stream") else b""
                answer = stub(request, timeout=30)
                with pytest.raises(aio.AioRpcError) as caught:
                    await (_drained(answer) if kind.endswith("_stream") else answer)
                return Failure.of_async(caught.value)
        finally:
            await server.stop(None)

    return asyncio.run(run())


KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


@pytest.mark.parametrize("kind", KINDS)
def test_the_unforeseen_is_an_incident_without_its_words(kind: str, log: StringIO) -> None:
    failure = call(kind, _raiser(RuntimeError(f"no room for {_SECRET}")))
    assert failure.code is grpc.StatusCode.INTERNAL
    assert failure.info.reason == "INTERNAL"
    incident = failure.info.metadata["incident"]
    assert incident in failure.message
    assert _SECRET not in failure.message
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    (told,) = [line for line in lines if line.get("request_id") == incident]
    assert told["exception"] == "builtins.RuntimeError"
    assert any("test_errors.py" in frame for frame in told["frames"])
    assert _SECRET not in log.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_cancelled_work_does_not_leave_the_client_hanging(kind: str, log: StringIO) -> None:
    assert call(kind, _cancelled).code is grpc.StatusCode.INTERNAL
    assert "incident" in log.getvalue()


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (
            EncoderUnavailableError("Triton is away", 1.5),
            grpc.StatusCode.UNAVAILABLE,
            "ENCODER_UNAVAILABLE",
        ),
        (EncoderBusyError("queue", 1.5), grpc.StatusCode.RESOURCE_EXHAUSTED, "ENCODER_BUSY"),
        (EncoderTimeoutError("late"), grpc.StatusCode.DEADLINE_EXCEEDED, "ENCODER_TIMEOUT"),
        (EncoderFaultError("nonsense"), grpc.StatusCode.INTERNAL, "INTERNAL"),
        (StoreFullError("/data"), grpc.StatusCode.RESOURCE_EXHAUSTED, "STORE_FULL"),
        (StoreReadOnlyError("/data"), grpc.StatusCode.UNAVAILABLE, "STORE_READ_ONLY"),
        (StoreUnavailableError("/data", "i/o"), grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
        (ParameterError("key", "too great"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_is_foreseen_has_its_code_and_reason(
    error: Exception, code: grpc.StatusCode, reason: str, log: StringIO
) -> None:
    failure = call("unary_unary", _raiser(error))
    assert failure.code is code
    assert failure.info.reason == reason
    assert failure.info.domain == "slidekin"
    assert "/data" not in failure.message
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}:
        assert failure.retry.retry_delay.ToMilliseconds() > 0
