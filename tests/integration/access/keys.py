"""``slidekin-server keys`` as an administrator runs it, and calls with what it prints."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from tests.service_calls import Failure
from tests.service_process import ServiceProcess, service_environment

from slidekin_server.access.key_file import KeyFile
from slidekin_server.access.roles import Grant, Role


def run_keys(service: ServiceProcess, *arguments: str, fails: bool = False) -> tuple[str, str]:
    """Run the command on a service's settings; return what it prints on both streams."""
    command = [sys.executable, "-m", "slidekin_server", "keys", *arguments]
    settings = str(service.folder / "settings.yaml")
    done = subprocess.run(
        [*command, "--config", settings],
        env=service_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode != 0) is fails, done.stderr
    return done.stdout, done.stderr


def create_key(service: ServiceProcess, name: str, role: str, *collections: str) -> str:
    """Make a key as the command does, without the command; return its text."""
    grants = [Grant(Role[role.upper()], one) for one in collections or ("*",)]
    return KeyFile(service.folder / "store-access").create(name, grants)[1]


class _Bearer(
    grpc.UnaryUnaryClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    def __init__(self, credential: str) -> None:
        self._header = ("authorization", f"Bearer {credential}")

    def _with(self, details: Any) -> Any:
        return details._replace(metadata=[*(details.metadata or ()), self._header])

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self._with(details), request)

    intercept_stream_unary = intercept_unary_unary
    intercept_unary_stream = intercept_unary_unary
    intercept_stream_stream = intercept_unary_unary


def showing(channel: grpc.Channel, credential: str) -> grpc.Channel:
    """A channel whose calls carry a key or a token."""
    return grpc.intercept_channel(channel, _Bearer(credential))


def refusal(call: Callable[[], object]) -> Failure:
    """How a call is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return Failure.of(caught.value)
