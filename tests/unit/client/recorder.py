"""A gRPC server in this process that answers as a test tells it: for what the transport does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor

from slidekin.v1 import admin_pb2, collections_pb2, search_pb2, slides_pb2

Behaviour = Callable[[Any, grpc.ServicerContext], Any]
"""Takes the request, or the iterator of requests; returns the response, or yields responses."""

METHODS: dict[str, MethodDescriptor] = {
    method.name: method
    for module in (admin_pb2, collections_pb2, search_pb2, slides_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
"""Every RPC of the contract, by its name."""


class Recorder(grpc.GenericRpcHandler):
    """Answers every RPC: as ``behaviours`` say, else with an empty response."""

    def __init__(self, **behaviours: Behaviour) -> None:
        self.behaviours = behaviours
        self.calls: list[str] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        _, service, name = details.method.split("/")
        method = METHODS[name]
        assert service == method.containing_service.full_name
        request = message_factory.GetMessageClass(method.input_type)
        response = message_factory.GetMessageClass(method.output_type)
        streams = (method.client_streaming, method.server_streaming)
        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[streams]

        def plain(received: Any, context: grpc.ServicerContext) -> Any:
            if method.client_streaming:
                list(received)
            return iter([self._last(response)]) if method.server_streaming else response()

        def recorded(received: Any, context: grpc.ServicerContext) -> Any:
            self.calls.append(name)
            return self.behaviours.get(name, plain)(received, context)

        return make(
            recorded,
            request_deserializer=request.FromString,
            response_serializer=response.SerializeToString,
        )

    @staticmethod
    def _last(response: type) -> Any:
        if response is search_pb2.SearchSlideResponse:
            return response(ranked_slides=search_pb2.RankedSlides())
        return response()


@contextlib.contextmanager
def serving(recorder: Recorder, credentials: grpc.ServerCredentials | None = None) -> Iterator[str]:
    """The recorder's address while it serves, in plain text or encrypted."""
    server = grpc.server(ThreadPoolExecutor(8), handlers=[recorder])
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
