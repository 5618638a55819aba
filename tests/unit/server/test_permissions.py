"""Every method says what it needs of its caller, and nothing that is served is forgotten."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from slidekin.v1 import access_pb2, search_pb2, slides_pb2
from slidekin_server.access.roles import Role
from slidekin_server.api import permissions
from slidekin_server.api.permissions import (
    RULES,
    SERVICES,
    Reach,
    UndeclaredPermissionError,
)
from slidekin_server.api.validation import InvalidRequestError

METHODS = [method for service in SERVICES for method in service.methods]


def test_every_service_of_the_contract_is_known():
    pool = descriptor_pool.Default()
    files = ("search", "slides", "collections", "admin", "common", "access")
    found = {
        name
        for file in files
        for name in (
            service.full_name
            for service in pool.FindFileByName(
                f"slidekin/v1/{file}.proto"
            ).services_by_name.values()
        )
    }
    assert found == {service.full_name for service in SERVICES}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_method_states_a_permission_and_for_what(method):
    assert method.GetOptions().HasExtension(access_pb2.access)
    access = method.GetOptions().Extensions[access_pb2.access]
    assert access.permission != access_pb2.PERMISSION_UNSPECIFIED
    assert access.WhichOneof("target")
    if access.WhichOneof("target") == "reach":
        assert access.reach != access_pb2.REACH_UNSPECIFIED
        return
    message = method.input_type
    *parts, last = access.collection_field.split(".")
    for part in parts:
        message = message.fields_by_name[part].message_type
    assert message.fields_by_name[last].type == descriptor_pb2.FieldDescriptorProto.TYPE_STRING


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_what_changes_something_is_not_for_readers(method):
    role = RULES[f"/{method.containing_service.full_name}/{method.name}"].role
    reads = method.name.startswith(("Get", "List", "BatchGet", "Search", "Export"))
    assert (role is Role.READER) is reads or method.name == "ListSnapshots"


@pytest.mark.parametrize("file", [health_pb2, reflection_pb2])
def test_the_standard_services_are_dealt_with_one_by_one(file):
    for service in file.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            rule = RULES[f"/{service.full_name}/{method.name}"]
            assert rule.reach is (Reach.PUBLIC if file is health_pb2 else Reach.KNOWN)


def test_nothing_of_the_contract_is_public():
    public = {name for name, rule in RULES.items() if rule.reach is Reach.PUBLIC}
    assert all(name.startswith("/grpc.health.v1.Health/") for name in public)


def test_a_method_that_states_nothing_stops_the_service_from_starting():
    file = descriptor_pb2.FileDescriptorProto(name="bare.proto", package="bare", syntax="proto3")
    file.message_type.add(name="M")
    file.service.add(name="S").method.add(name="Do", input_type=".bare.M", output_type=".bare.M")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    method = pool.FindServiceByName("bare.S").methods[0]
    with pytest.raises(UndeclaredPermissionError, match=r"bare\.S\.Do"):
        permissions._declared(method)


@pytest.mark.parametrize(
    ("method", "request_", "wanted"),
    [
        ("SlideService/GetSlide", {"name": "collections/a/slides/b"}, "a"),
        ("SlideService/ListSlides", {"parent": "collections/a"}, "a"),
        ("SlideService/DeletePatient", {"parent": "collections/-"}, "-"),
    ],
)
def test_the_collection_is_found_in_the_request(method, request_, wanted):
    kind = getattr(slides_pb2, f"{method.partition('/')[2]}Request")
    assert RULES[f"/slidekin.v1.{method}"].collection(kind(**request_)) == wanted


@pytest.mark.parametrize(
    "name", ["", "collections/", "a", "collections/../slides/b", "collections/*", "slides/a"]
)
def test_a_name_that_is_none_is_refused_before_anything_is_allowed(name):
    header = search_pb2.SearchSlideHeader(parent=name)
    rule = RULES["/slidekin.v1.SearchService/SearchSlide"]
    with pytest.raises(InvalidRequestError):
        rule.collection(search_pb2.SearchSlideRequest(header=header))
    with pytest.raises(InvalidRequestError):
        rule.collection(search_pb2.SearchSlideRequest())
