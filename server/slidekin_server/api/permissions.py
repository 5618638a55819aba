"""What each method needs of its caller: read from the contract, where every method states it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from slidekin.v1 import access_pb2, admin_pb2, collections_pb2, search_pb2, slides_pb2
from slidekin_server.access.roles import Role
from slidekin_server.api.validation import collection_id, refuse, slide_ids

SERVICES: Final[tuple[ServiceDescriptor, ...]] = tuple(
    service
    for module in (collections_pb2, slides_pb2, search_pb2, admin_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)
"""The contract's services."""


class Reach(enum.Enum):
    """For what a permission is needed."""

    COLLECTION = enum.auto()
    """One collection, which the request names."""
    VISIBLE = enum.auto()
    """Any collection: the answer shows those for which the caller has it."""
    SERVICE = enum.auto()
    """All collections."""
    KNOWN = enum.auto()
    """Nothing: whoever says who they are may call."""
    PUBLIC = enum.auto()
    """Nothing: nobody is asked."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a method needs of its caller."""

    reach: Reach
    role: Role = Role.READER
    field: str = ""
    """Path of the request's field that names the collection."""
    streams: bool = False
    """It stands in the first message of a stream."""

    def collection(self, request: Any) -> str:  # noqa: ANN401  any message of the contract
        """Return the id of the collection that a request names, ``-`` for all.

        Raises:
            InvalidRequestError: It names none.
        """
        first, _, _ = self.field.partition(".")
        if self.streams and not request.HasField(first):
            raise refuse(first, f"the first message must hold the {first}")
        name = request
        for part in self.field.split("."):
            name = getattr(name, part)
        if "/slides/" in name:
            return slide_ids(self.field, name)[0]
        return collection_id(self.field, name, allow_any=True)


class UndeclaredPermissionError(Exception):
    """A method of the contract does not say what it needs of its caller."""


def _declared(method: MethodDescriptor) -> Rule:
    access = method.GetOptions().Extensions[access_pb2.access]
    match access.WhichOneof("target"), access.reach:
        case "collection_field", _ if access.permission:
            return Rule(
                Reach.COLLECTION,
                Role(access.permission),
                access.collection_field,
                streams=method.client_streaming,
            )
        case "reach", access_pb2.REACH_VISIBLE if access.permission:
            return Rule(Reach.VISIBLE, Role(access.permission))
        case "reach", access_pb2.REACH_SERVICE if access.permission:
            return Rule(Reach.SERVICE, Role(access.permission))
        case _:
            raise UndeclaredPermissionError(f"{method.full_name} states no permission")


RULES: Final[Mapping[str, Rule]] = {
    # Probes have no credentials, and learn nothing but whether the service is ready.
    "/grpc.health.v1.Health/Check": Rule(Reach.PUBLIC),
    "/grpc.health.v1.Health/List": Rule(Reach.PUBLIC),
    "/grpc.health.v1.Health/Watch": Rule(Reach.PUBLIC),
    # Shows the contract, which is no secret, and nothing of what is held.
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Rule(Reach.KNOWN),
    **{
        f"/{service.full_name}/{method.name}": _declared(method)
        for service in SERVICES
        for method in service.methods
    },
}
"""By the methods' full names. One that is missing may not be called."""


def is_public(method: str) -> bool:
    """Say whether a method, by its full name, is open to those who do not say who they are."""
    rule = RULES.get(method)
    return rule is not None and rule.reach is Reach.PUBLIC
