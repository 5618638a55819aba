"""Bearer tokens of a provider on a real socket, shown to a real service."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.integration.access.issuer import AUDIENCE, Issuer
from tests.integration.access.keys import create_key, refusal, showing
from tests.service_calls import Calls
from tests.service_process import ServiceProcess

from slidekin.v1 import collections_pb2

GRANTS = [
    {"identity": "oidc:root", "role": "admin", "collections": ["*"]},
    {"identity": "oidc:jane", "role": "reader", "collections": ["skin"]},
    {"identity": "group:scanners", "role": "writer", "collections": ["skin"]},
]


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer().serving() as running:
        yield running


@pytest.fixture
def service(tmp_path: Path, issuer: Issuer) -> Iterator[ServiceProcess]:
    """A service that accepts the issuer's tokens, beside API keys."""
    oidc = {"issuer": issuer.url, "audience": AUDIENCE, "groups_claim": "groups"}
    settings = {
        "access": {"required": True, "grants": GRANTS, "oidc": {**oidc, "timeout_s": 2.0}},
    }
    with ServiceProcess(tmp_path, settings) as running:
        yield running


@pytest.fixture
def channel(service: ServiceProcess) -> Iterator[grpc.Channel]:
    with service.channel() as channel:
        yield channel


def skin(channel: grpc.Channel, token: str) -> Calls:
    return Calls(showing(channel, token), "skin")


def listed(calls: Calls) -> object:
    return calls.collections.ListCollections(collections_pb2.ListCollectionsRequest())


def test_a_token_says_who_calls_and_its_groups_count(channel: grpc.Channel, issuer: Issuer):
    skin(channel, issuer.token("root")).create()
    assert skin(channel, issuer.token("jane")).held() == []
    found = refusal(skin(channel, issuer.token("jane")).create)
    assert found.code is grpc.StatusCode.PERMISSION_DENIED
    assert found.info.metadata["identity"] == "oidc:jane"
    in_group = skin(channel, issuer.token("tom", groups=["scanners", "others"]))
    assert in_group.held() == []
    assert refusal(listed_by(channel, issuer.token("tom"))).info.reason == "PERMISSION_DENIED"
    many = [f"group-{number:05}" for number in range(700)]
    listed(skin(channel, issuer.token("root", groups=many)))
    assert issuer.asked == 1, "the keys were kept"


def listed_by(channel: grpc.Channel, token: str) -> Any:
    return lambda: listed(skin(channel, token))


def wrong_tokens(issuer: Issuer) -> dict[str, tuple[str, str]]:
    """Tokens with one thing wrong each, and what the refusal says."""
    other = rsa.generate_private_key(65537, 2048)
    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "root", "exp": time.time() + 300}
    confused = jwt.encode(claims, "s" * 32, algorithm="HS256", headers={"kid": "first"})
    unsigned = jwt.encode(claims, None, algorithm="none", headers={"kid": "first"})
    stranger = jwt.encode(claims, other, algorithm="RS256", headers={"kid": "unknown"})
    return {
        "late": (issuer.token("root", exp=time.time() - 120), "has expired"),
        "early": (issuer.token("root", nbf=time.time() + 120), "ImmatureSignature"),
        "endless": (issuer.token("root", exp=None), "MissingRequiredClaim"),
        "for others": (issuer.token("root", aud="portal"), "not made out for slidekin"),
        "of others": (issuer.token("root", iss="http://127.0.0.1:1"), "it is not from"),
        "forged": (issuer.token("root", key=other), "signature is wrong"),
        "stranger": (stranger, "signing key is not one of"),
        "confused": (confused, "not signed with one of"),
        "unsigned": (unsigned, "not signed with one of"),
        "nameless": (issuer.token("root", sub=None), "names nobody"),
        "torn": (issuer.token("root")[:-9], "neither an API key nor"),
        "nonsense": ("abc", "neither an API key nor"),
    }


def test_a_token_with_anything_wrong_opens_nothing(channel: grpc.Channel, issuer: Issuer):
    for name, (token, wanted) in wrong_tokens(issuer).items():
        found = refusal(listed_by(channel, token))
        assert found.code is grpc.StatusCode.UNAUTHENTICATED, name
        assert wanted in found.message, name
        assert found.info.reason == ("TOKEN_EXPIRED" if name == "late" else "TOKEN_INVALID"), name
    listed(skin(channel, issuer.token("root", exp=time.time() - 30)))  # within the leeway


def test_a_key_that_the_provider_changes_is_taken_up(channel: grpc.Channel, issuer: Issuer):
    before = issuer.token("root")
    listed(skin(channel, before))
    time.sleep(5.1)  # in which the provider is not asked again on a stranger's word
    issuer.rotate("second", curve=True)
    listed(skin(channel, issuer.token("root")))
    assert "signing key is not one of" in refusal(listed_by(channel, before)).message
    assert issuer.asked == 2


def test_strangers_cannot_make_the_service_ask_the_provider_over_and_over(
    channel: grpc.Channel, issuer: Issuer
):
    other = rsa.generate_private_key(65537, 2048)
    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "root", "exp": time.time() + 300}
    listed(skin(channel, issuer.token("root")))
    for number in range(30):
        token = jwt.encode(claims, other, algorithm="RS256", headers={"kid": f"k{number}"})
        refusal(listed_by(channel, token))
    assert issuer.asked <= 3


def test_a_provider_that_is_away_is_no_fault_of_the_caller(
    service: ServiceProcess, channel: grpc.Channel, issuer: Issuer
):
    key = create_key(service, "lab", "reader")
    issuer.up = False
    found = refusal(listed_by(channel, issuer.token("root")))
    assert (found.code, found.info.reason) == (
        grpc.StatusCode.UNAVAILABLE,
        "IDENTITY_PROVIDER_UNAVAILABLE",
    )
    assert found.retry.retry_delay.seconds > 0
    end = time.monotonic() + 30
    while True:
        try:
            listed(skin(channel, key))
            break
        except grpc.RpcError:
            assert time.monotonic() < end
            time.sleep(0.1)
    issuer.up = True
    while True:
        try:
            listed(skin(channel, issuer.token("root")))
            break
        except grpc.RpcError:
            assert time.monotonic() < end
            time.sleep(0.1)
    issuer.up = False
    listed(skin(channel, issuer.token("root")))  # its keys are kept while it is away


def test_a_provider_that_is_slow_holds_nobody_else_up(
    service: ServiceProcess, channel: grpc.Channel, issuer: Issuer
):
    issuer.hold_s = 1.5
    waiting = threading.Thread(target=listed_by(channel, issuer.token("root")))
    waiting.start()
    while issuer.hold_s and waiting.is_alive():
        found = refusal(skin(channel, "slidekin_aaaaaaaa_" + "x" * 43).get)
        assert found.info.reason == "API_KEY_UNKNOWN"
        issuer.hold_s = 0.0
    assert waiting.is_alive(), "others were answered while the provider was being asked"
    waiting.join(30)
