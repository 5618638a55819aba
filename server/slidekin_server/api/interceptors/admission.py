"""Admits calls, tells the work behind them whose it is and until when, and ends them in a drain."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from slidekin_server.admission import DrainingError, Gate, Kind, Ticket, set_ticket
from slidekin_server.api.interceptors.layers import Call
from slidekin_server.api.kinds import BRING_PATCHES, SEARCHES
from slidekin_server.callers import current_caller

# Probes and tools must be answered however busy the service is.
_EXEMPT = ("/grpc.health.", "/grpc.reflection.")


class Admission:
    """Admits calls through a gate. Put it inside the layer that finds out who calls.

    Args:
        gate: Decides.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._open: set[asyncio.Timeout] = set()
        self._none_open = asyncio.Event()
        self._none_open.set()

    @contextlib.asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        """Admit a call."""
        method = call.method
        if method.startswith(_EXEMPT):
            yield
            return
        left_s = call.context.time_remaining()
        ticket = Ticket(current_caller(), None if left_s is None else time.monotonic() + left_s)
        kind = Kind(
            method,
            streams=call.streams,
            searches=method in SEARCHES,
            brings_patches=method in BRING_PATCHES,
        )
        with self._gate.admitted(kind, ticket):
            set_ticket(ticket)
            async with self._ended_by_drain():
                yield

    def drain(self) -> None:
        """Refuse every call from now on."""
        self._gate.drain()

    async def ended(self) -> None:
        """Wait until no call is open."""
        await self._none_open.wait()

    def end_calls(self) -> None:
        """End the open calls; each is told that the service stops."""
        for scope in tuple(self._open):
            scope.reschedule(0.0)

    @contextlib.asynccontextmanager
    async def _ended_by_drain(self) -> AsyncIterator[None]:
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._open.add(scope)
                self._none_open.clear()
                try:
                    yield
                finally:
                    self._open.discard(scope)
                    if not self._open:
                        self._none_open.set()
        except TimeoutError:
            if not scope.expired():
                raise
            raise DrainingError from None
