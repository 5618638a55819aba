"""What the command ``health`` does: ask the service on this machine how it is."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from slidekin_server.config import Settings
from slidekin_server.own_service import OwnServiceError, own_channel, own_target

_SEARCH_SERVICE = "slidekin.v1.SearchService"


def ask_health(settings: Settings, *, live: bool, timeout_s: float) -> str:
    """Ask the service that runs with these settings; return what it says.

    Args:
        settings: Where it listens.
        live: Ask only whether the process answers; else whether it is ready.
        timeout_s: How long to wait for the answer.

    Raises:
        OwnServiceError: It says no, or nothing.
    """
    target = own_target(settings)
    request = health_pb2.HealthCheckRequest(service="" if live else _SEARCH_SERVICE)
    with own_channel(settings) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout_s)
        except grpc.RpcError as error:
            call: Any = error  # every error of a call is the call itself
            raise OwnServiceError(
                f"no answer from {target}: {call.details()} ({call.code().name})"
            ) from None
    said = f"{target}: {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise OwnServiceError(said)
    return said
