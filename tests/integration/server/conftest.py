"""One service for all tests that leave it running, and a collection of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import grpc
import pytest
from tests.service_calls import Calls
from tests.service_process import ServiceProcess

_numbers = itertools.count()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service without encoders, with small limits."""
    folder = tmp_path_factory.mktemp("service")
    overrides = {
        "limits": {
            "max_message_bytes": 2 * 1024 * 1024,
            "max_image_bytes": 1024 * 1024,
            "max_thumbnail_bytes": 64 * 1024,
            "max_patches_per_slide": 200,
            "max_k": 50,
        },
        "admission": {"max_streams": 4, "max_streams_each": 4},
    }
    with ServiceProcess(folder, overrides) as running:
        yield running


@pytest.fixture(scope="session")
def channel(service: ServiceProcess) -> Iterator[grpc.Channel]:
    """A channel to it."""
    with service.channel() as channel:
        yield channel


@pytest.fixture
def empty(channel: grpc.Channel) -> Calls:
    """A collection that was not created yet."""
    return Calls(channel, f"test-{next(_numbers)}")


@pytest.fixture
def calls(empty: Calls) -> Calls:
    """An empty collection."""
    empty.create()
    return empty
