"""grpc.health.v1: the empty name says the process lives, a service's name that it is ready."""

from __future__ import annotations

from collections.abc import Iterable

from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer


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
        await self.servicer.enter_graceful_shutdown()

    async def _publish(self) -> None:
        response = health_pb2.HealthCheckResponse
        status = response.SERVING if self.ready else response.NOT_SERVING
        for service in self._services:
            await self.servicer.set(service, status)
