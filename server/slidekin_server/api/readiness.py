"""grpc.health.v1: the empty name says the process lives, a service's name that it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from grpc.aio import ServicerContext
from grpc_health.v1 import health_pb2, health_pb2_grpc

_MAX_WATCHERS = 256
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it has no types
    """Answers health checks.

    The one that grpcio-health-checking 1.81 brings for asyncio tells nothing more to anybody who
    watches a service, once one of them has gone; and one who does not read holds up the rest.
    """

    def __init__(self) -> None:
        self._states: dict[str, int] = {"": _SERVING}
        self._watchers: set[asyncio.Event] = set()

    def set(self, states: Mapping[str, int]) -> None:
        """State how services are."""
        self._states.update(states)
        for changed in self._watchers:
            changed.set()

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        """Return how a service is."""
        state = self._states.get(request.service)
        if state is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"there is no service {request.service!r} here"
            )
        return health_pb2.HealthCheckResponse(status=state)

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: ServicerContext[Any, Any]
    ) -> None:
        """Tell how a service is, now and whenever that changes."""
        if len(self._watchers) >= _MAX_WATCHERS:
            # Health checks pass admission: this is their bound.
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{_MAX_WATCHERS} clients watch already: use Check",
            )
        changed, told = asyncio.Event(), None
        self._watchers.add(changed)
        try:
            while True:
                changed.clear()
                state = self._states.get(request.service, _UNKNOWN)
                if state != told:
                    await context.write(health_pb2.HealthCheckResponse(status=state))
                    told = state
                await changed.wait()
        finally:
            self._watchers.discard(changed)


class Readiness:
    """Tells health checks whether the index is loaded and the encoders are ready.

    A service without encoders is ready when its index is. One whose encoders are away is not, and
    still answers what needs none of them: searches by codes, listings, deletions.

    Args:
        services: Full names of the services whose readiness is told.
        with_encoders: Whether the service has encoders.
    """

    def __init__(self, services: Iterable[str], *, with_encoders: bool) -> None:
        self.servicer = HealthServicer()
        self._services = tuple(services)
        self._loaded = False
        self._stopping = False
        self._encoders_ready = not with_encoders

    @property
    def ready(self) -> bool:
        """Whether all is there that requests may need."""
        return self._loaded and self._encoders_ready

    async def start(self) -> None:
        """Say that the process lives and is not ready."""
        await self._publish()

    async def index_loaded(self) -> None:
        """Say that every index is loaded."""
        self._loaded = True
        await self._publish()

    async def encoders(self, *, ready: bool) -> None:
        """Say whether the encoders are reached and their canary is right."""
        self._encoders_ready = ready
        await self._publish()

    async def stop(self) -> None:
        """Say that no further call is welcome."""
        self._stopping = True
        self.servicer.set({"": _NOT_SERVING})
        await self._publish()

    async def _publish(self) -> None:
        status = _SERVING if self.ready and not self._stopping else _NOT_SERVING
        self.servicer.set(dict.fromkeys(self._services, status))
