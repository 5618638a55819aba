"""What the command ``health`` does: ask the service on this machine how it is."""

from __future__ import annotations

import contextlib
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from slidekin_server.cli._own_service import OwnServiceError, own_channel, own_target
from slidekin_server.config import Settings

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
    with own_channel(settings) as channel:
        try:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(_request(live=live), timeout=timeout_s)
        except grpc.RpcError as error:
            call: Any = error  # every error of a call is the call itself
            raise OwnServiceError(
                f"no answer from {target}: {call.details()} ({call.code().name})"
            ) from None
    said = _said(target, answer)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise OwnServiceError(said)
    return said


def wait_for_health(settings: Settings, *, live: bool, wait_s: float) -> str:
    """Wait until the service that runs with these settings says yes; return what it says.

    Args:
        settings: Where it listens.
        live: Wait only until the process answers; else until it is ready.
        wait_s: How long at most.

    Raises:
        OwnServiceError: It has not said yes by then.
    """
    target = own_target(settings)
    said = "no answer"
    with own_channel(settings) as channel:
        answers = health_pb2_grpc.HealthStub(channel).Watch(
            _request(live=live), timeout=wait_s, wait_for_ready=True
        )
        with contextlib.suppress(grpc.RpcError):
            for answer in answers:
                said = _said(target, answer)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return said
    raise OwnServiceError(f"{target}: not within {wait_s:g} s; last: {said}")


def _request(*, live: bool) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service="" if live else _SEARCH_SERVICE)


def _said(target: str, answer: health_pb2.HealthCheckResponse) -> str:
    return f"{target}: {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"
