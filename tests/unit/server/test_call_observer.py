"""Every call of all four kinds is counted, timed and logged once, with the right code."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging

import grpc
import pytest
import structlog
from grpc import aio
from prometheus_client import CollectorRegistry
from tests.unit.server.waiting import until

from slidekin_server.api.interceptors.layers import CallLayers
from slidekin_server.api.interceptors.observer import CallObserver
from slidekin_server.telemetry import Metrics, configure_logging

SECRET = b"Erika Mustermann"
KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


class Servicer:
    """Answers each kind of call; the request says how it is to end."""

    def __init__(self):
        self.started = asyncio.Event()

    async def _end(self, request: bytes, context) -> bytes:
        structlog.contextvars.bind_contextvars(slide=SECRET.decode(), reason="BOUND")
        if request == b"abort":
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no slide {SECRET.decode()}")
        if request == b"set":
            context.set_code(grpc.StatusCode.ALREADY_EXISTS)
        if request == b"fail":
            raise ValueError(SECRET)
        if request == b"too late":
            self.started.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "nobody hears this")
        if request == b"hang":
            self.started.set()
            await asyncio.Event().wait()
        return request

    async def unary_unary(self, request, context):
        return await self._end(request, context)

    async def unary_stream(self, request, context):
        yield b"first"
        yield await self._end(request, context)

    async def stream_unary(self, requests, context):
        return await self._end(b"".join([one async for one in requests]), context)

    async def stream_stream(self, requests, context):
        async for one in requests:
            yield await self._end(one, context)

    async def written(self, request, context):
        await context.write(b"first")
        await self._end(request, context)


class Bench:
    def __init__(self, registry, stream):
        self.registry, self.stream, self.servicer = registry, stream, Servicer()

    def counted(self, kind: str, code: str) -> float | None:
        labels = {"method": f"/test.T/{kind}", "code": code}
        return self.registry.get_sample_value("slidekin_rpcs_total", labels)

    def gauge(self, kind: str) -> float | None:
        labels = {"method": f"/test.T/{kind}"}
        return self.registry.get_sample_value("slidekin_rpcs_in_progress", labels)

    def lines(self) -> list[dict]:
        found = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in found if line["event"] == "call ended"]

    async def until_ended(self, calls: int = 1) -> None:
        await until(lambda: len(self.lines()) >= calls)

    @contextlib.asynccontextmanager
    async def channel(self):
        server = aio.server(interceptors=[CallLayers([CallObserver(Metrics(self.registry))])])
        handlers = {
            kind: getattr(grpc, f"{kind}_rpc_method_handler")(getattr(self.servicer, kind))
            for kind in KINDS
        }
        handlers["written"] = grpc.unary_stream_rpc_method_handler(self.servicer.written)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.T", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
        await server.stop(None)

    def call(self, channel, kind: str, request: bytes, **options):
        made = getattr(channel, "unary_stream" if kind == "written" else kind)(f"/test.T/{kind}")
        return made([request] if kind.startswith("stream") else request, **options)


async def drained(call) -> list[bytes]:
    if hasattr(call, "__aiter__"):
        return [one async for one in call]
    return [await call]


@pytest.fixture
def bench():
    root = logging.getLogger()
    before = root.handlers, root.level
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    yield Bench(CollectorRegistry(), stream)
    assert SECRET.decode() not in stream.getvalue()
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers, level = before
    root.setLevel(level)


@pytest.mark.parametrize("kind", [*KINDS, "written"])
@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"fine", "OK"),
        (b"abort", "NOT_FOUND"),
        (b"set", "ALREADY_EXISTS"),
        (b"fail", "UNKNOWN"),
    ],
)
def test_a_call_is_counted_and_logged_once(bench: Bench, kind: str, request_: bytes, code: str):
    async def run():
        async with bench.channel() as channel:
            try:
                answers = await drained(bench.call(channel, kind, request_))
                assert answers[-1] == (b"first" if kind == "written" else b"fine")
                found = "OK"
            except aio.AioRpcError as error:
                found = error.code().name
            assert found == code
            await bench.until_ended()

    asyncio.run(run())
    assert bench.counted(kind, code) == 1
    assert bench.gauge(kind) == 0
    (line,) = bench.lines()
    assert (line["method"], line["code"]) == (f"/test.T/{kind}", code)
    assert line["reason"] == "BOUND"
    assert line["level"] == ("error" if code == "UNKNOWN" else "info")
    assert ("exception" in line) is (code == "UNKNOWN")


@pytest.mark.parametrize("kind", [*KINDS, "written"])
def test_a_call_that_its_caller_gives_up_is_cancelled(bench: Bench, kind: str):
    async def run():
        async with bench.channel() as channel:
            call = bench.call(channel, kind, b"hang")
            task = asyncio.create_task(drained(call))
            await bench.servicer.started.wait()
            assert bench.gauge(kind) == 1
            call.cancel()
            await asyncio.wait([task])
            await bench.until_ended()

    asyncio.run(run())
    assert bench.counted(kind, "CANCELLED") == 1
    assert bench.gauge(kind) == 0


@pytest.mark.parametrize("kind", [*KINDS, "written"])
def test_an_answer_that_comes_after_the_end_is_no_fault_of_the_service(bench: Bench, kind: str):
    async def run():
        async with bench.channel() as channel:
            call = bench.call(channel, kind, b"too late")
            task = asyncio.create_task(drained(call))
            await bench.servicer.started.wait()
            call.cancel()
            await asyncio.wait([task])
            await bench.until_ended()

    asyncio.run(run())
    assert bench.counted(kind, "CANCELLED") == 1
    assert bench.lines()[0]["level"] == "info"


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_past_its_deadline_is_late(bench: Bench, kind: str):
    async def run():
        async with bench.channel() as channel:
            with pytest.raises(aio.AioRpcError) as caught:
                await drained(bench.call(channel, kind, b"hang", timeout=0.2))
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            await bench.until_ended()

    asyncio.run(run())
    assert bench.counted(kind, "DEADLINE_EXCEEDED") == 1


def test_unknown_methods_are_left_to_grpc(bench: Bench):
    async def run():
        async with bench.channel() as channel:
            with pytest.raises(aio.AioRpcError) as caught:
                await channel.unary_unary("/test.T/none")(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(run())
    assert bench.lines() == []
