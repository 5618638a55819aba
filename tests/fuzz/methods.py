"""Every method that the service offers, from the descriptors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from slidekin_server.api.server import SERVICES

STANDARD_SERVICES = (health.SERVICE_NAME, reflection.SERVICE_NAME)
"""Offered beside the contract, by gRPC's own packages."""


@dataclass(frozen=True)
class Method:
    """One method."""

    path: str
    """``/package.Service/Method``."""
    request: type[Message]
    response: type[Message]
    takes_stream: bool
    gives_stream: bool

    @property
    def name(self) -> str:
        """Its last part, unique within the contract."""
        return self.path.rpartition("/")[2]

    @classmethod
    def of(cls, descriptor: MethodDescriptor) -> Method:
        """Read its descriptor."""
        return cls(
            f"/{descriptor.containing_service.full_name}/{descriptor.name}",
            GetMessageClass(descriptor.input_type),
            GetMessageClass(descriptor.output_type),
            descriptor.client_streaming,
            descriptor.server_streaming,
        )


def methods_of(services: Iterable[str]) -> tuple[Method, ...]:
    """Every method of services, by their full names."""
    pool = descriptor_pool.Default()
    return tuple(
        Method.of(method)
        for service in services
        for method in pool.FindServiceByName(service).methods
    )


CONTRACT = methods_of(SERVICES)
STANDARD = methods_of(STANDARD_SERVICES)
BY_PATH = {method.path: method for method in (*CONTRACT, *STANDARD)}
