"""Keys and tokens go with every call, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.unit.client.recorder import METHODS, Recorder, serving

from slidekin import AsyncClient, Client, Codes, Slide, Tls
from slidekin._credentials import is_local

CODES = Codes(
    keys=np.array([1]), textures=np.zeros((1, 16), np.uint8), xy=np.zeros((1, 2), np.int32)
)
SLIDE = Slide("collections/a/slides/s")


def shown_with(seen: dict[str, Any]) -> Recorder:
    """Answers everything, and notes what came with it."""
    recorder = Recorder()
    plain = recorder.service

    def service(details: Any) -> Any:
        seen[details.method.rpartition("/")[2]] = dict(details.invocation_metadata).get(
            "authorization"
        )
        return plain(details)

    recorder.service = service  # type: ignore[method-assign]
    return recorder


def every_road(client: Client) -> None:
    """One call of each kind."""
    client.get_slide("s", collection="a")
    list(client.list_collections())
    list(client.export_slides("a"))


def test_the_key_goes_with_calls_of_every_kind():
    seen: dict[str, Any] = {}
    with serving(shown_with(seen)) as target, Client(target, api_key="k") as client:
        every_road(client)
        client.add_slide_codes(SLIDE, CODES, model_fingerprint="f")
        client.search_codes(CODES, collection="a", model_fingerprint="f")
    assert {"GetSlide", "ExportSlides", "AddSlide", "SearchSlide"} <= set(seen) <= set(METHODS)
    assert set(seen.values()) == {"Bearer k"}


def test_a_function_is_asked_before_every_call():
    seen: dict[str, Any] = {}
    tokens = iter("abc")
    with (
        serving(shown_with(seen)) as target,
        Client(target, token=lambda: next(tokens)) as client,
    ):
        every_road(client)
    assert list(seen.values()) == ["Bearer a", "Bearer b", "Bearer c"]


async def _coroutine() -> str:
    return "later"


def _awaitable() -> Any:
    return _coroutine()


@pytest.mark.parametrize("token", ["later", lambda: "later", _coroutine, _awaitable])
def test_the_async_client_takes_a_token_however_it_comes(token: Any):
    seen: dict[str, Any] = {}

    async def run(target: str) -> None:
        async with AsyncClient(target, token=token) as client:
            await client.get_slide("s", collection="a")
            async for _ in client.export_slides("a"):
                pass
            await client.add_slide_codes(SLIDE, CODES, model_fingerprint="f")
            await client.search_codes(CODES, collection="a", model_fingerprint="f")

    with serving(shown_with(seen)) as target:
        asyncio.run(run(target))
    assert {"GetSlide", "ExportSlides", "AddSlide", "SearchSlide"} <= set(seen)
    assert set(seen.values()) == {"Bearer later"}


def test_without_a_credential_none_goes():
    seen: dict[str, Any] = {}
    with serving(shown_with(seen)) as target, Client(target) as client:
        every_road(client)
    assert set(seen.values()) == {None}


@pytest.mark.parametrize("make", [Client, AsyncClient])
@pytest.mark.parametrize("given", [{"api_key": "k"}, {"token": "t"}, {"token": lambda: "t"}])
def test_no_credential_leaves_this_machine_unencrypted(make: Callable[..., Any], given: Any):
    with pytest.raises(ValueError, match=r"archive:50051 is not encrypted"):
        make("archive:50051", **given)


def test_a_credential_may_leave_by_tls_or_where_that_is_asked_for():
    Client("archive:50051", api_key="k", plaintext_credentials=True).close()
    Client("archive:50051", api_key="k", tls=Tls()).close()


def test_a_key_and_a_token_are_one_too_many():
    with pytest.raises(ValueError, match="either api_key or token"):
        Client(api_key="k", token="t")


def test_a_key_with_a_line_break_is_named_as_what_is_wrong():
    with Client(api_key="k\nx: y") as client, pytest.raises(ValueError, match="holds characters"):
        client.status()


@pytest.mark.parametrize(
    "target",
    ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1", "unix:/run/x", "dns:///localhost:1",
     "ipv4:127.0.0.1:1", "ipv6:[::1]:1"],
)  # fmt: skip
def test_loopback_is_this_machine(target: str):
    assert is_local(target)


@pytest.mark.parametrize(
    "target",
    ["archive:1", "10.0.0.1:1", "dns:///archive:1", "dns://1.1.1.1/archive:1", "[fe80::1]:1",
     "localhost.example:1", "ipv4:127.0.0.1:1,10.0.0.1:1", "0.0.0.0:1", ""],
)  # fmt: skip
def test_everything_else_is_not(target: str):
    assert not is_local(target)
