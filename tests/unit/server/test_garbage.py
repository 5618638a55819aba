"""Calls leave no circles behind; where there are some, they go before long."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc import aio
from prometheus_client import CollectorRegistry

from slidekin_server import app
from slidekin_server.api.interceptors.errors import ErrorMapper
from slidekin_server.api.interceptors.layers import CallLayers, Context
from slidekin_server.api.interceptors.observer import CallObserver
from slidekin_server.api.interceptors.tracer import CallTracer
from slidekin_server.api.validation import refuse
from slidekin_server.telemetry import Metrics
from slidekin_server.telemetry.tracing import Unrecorded


def _full_collections(circles: int) -> int:
    """Return how often all garbage is collected while so many circles are made."""
    before = gc.get_stats()[2]["collections"]
    for _ in range(circles):
        circle: list[object] = []
        circle.append(circle)
    return int(gc.get_stats()[2]["collections"]) - before


@pytest.mark.parametrize("often", [False, True])
def test_garbage_is_collected_soon_beside_much_that_was_loaded(*, often: bool) -> None:
    loaded: list[list[int]] = [[] for _ in range(1_000_000)]
    gc.collect()
    try:
        if often:
            app._collect_garbage_often()
        # Python by itself waits until a quarter of what was loaded has come on top of it.
        assert (_full_collections(400_000) > 0) is often
    finally:
        gc.unfreeze()
    assert loaded


class _Held:
    """Stands for what a call looks at, such as an index version."""


class _Handlers:
    """Calls that end in every way, and what they held."""

    def __init__(self) -> None:
        self.held: list[weakref.ref[_Held]] = []

    def hold(self) -> _Held:
        held = _Held()
        self.held.append(weakref.ref(held))
        return held

    async def answers(self, _: bytes, context: Context) -> bytes:
        held = self.hold()
        assert context is not None
        assert held is not None
        return b""

    async def refuses(self, _: bytes, context: Context) -> bytes:
        held = self.hold()
        try:
            {}[held]
        except KeyError as error:
            raise refuse("field", "wrong") from error
        return b""

    async def breaks(self, _: bytes, context: Context) -> bytes:
        held = self.hold()
        raise RuntimeError(repr(held))

    async def fails_in_a_group(self, _: bytes, context: Context) -> bytes:
        async def part(held: _Held) -> None:
            await asyncio.sleep(0)
            raise ExceptionGroup("parts", [refuse("field", repr(held))])

        async with asyncio.TaskGroup() as group:
            group.create_task(part(self.hold()))
        return b""

    async def takes_long(self, _: bytes, context: Context) -> bytes:
        held = self.hold()
        await asyncio.sleep(60)
        return repr(held).encode()

    async def refuses_amid_answers(self, _: bytes, context: Context) -> AsyncIterator[bytes]:
        held = self.hold()
        yield b"1"
        raise refuse("field", repr(held))


_ANSWERS = {
    "answers": {grpc.StatusCode.OK},
    "refuses": {grpc.StatusCode.INVALID_ARGUMENT},
    "breaks": {grpc.StatusCode.INTERNAL},
    "fails_in_a_group": {grpc.StatusCode.INTERNAL},
    "takes_long": {grpc.StatusCode.DEADLINE_EXCEEDED},
    "refuses_amid_answers": {grpc.StatusCode.INVALID_ARGUMENT},
}


async def _call(channel: aio.Channel, name: str) -> grpc.StatusCode:
    # In time, but for the one that is to be late.
    timeout_s = 0.2 if name == "takes_long" else 30.0
    call = channel.unary_stream(f"/test/{name}")(b"", timeout=timeout_s)
    with contextlib.suppress(grpc.RpcError):
        async for _ in call:
            pass
    code: grpc.StatusCode = await call.code()
    return code


@pytest.mark.asyncio
@pytest.mark.parametrize("name", _ANSWERS)
async def test_what_a_call_held_goes_with_its_end_without_a_collection(name: str) -> None:
    handlers = _Handlers()
    make = (
        grpc.unary_stream_rpc_method_handler
        if name == "refuses_amid_answers"
        else grpc.unary_unary_rpc_method_handler
    )
    metrics = Metrics(CollectorRegistry())
    tracer = CallTracer(lambda _method, _parent: Unrecorded(None))
    layers = CallLayers([CallObserver(metrics), tracer, ErrorMapper()])
    server = aio.server(interceptors=[layers])
    methods = {name: make(getattr(handlers, name))}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    gc.disable()
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert {await _call(channel, name) for _ in range(3)} == _ANSWERS[name]
        await server.stop(None)
        assert len(handlers.held) == 3
        for _ in range(100):
            await asyncio.sleep(0.01)
            if not any(one() for one in handlers.held):
                return
        pytest.fail("it is held, by a circle")
    finally:
        gc.enable()
