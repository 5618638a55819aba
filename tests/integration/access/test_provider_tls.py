"""A provider of tokens behind HTTPS, on a real socket: which certificate it may show."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from tests.integration.access.certificates import Authority
from tests.integration.access.issuer import AUDIENCE, Issuer
from tests.integration.access.keys import refusal, showing
from tests.service_calls import Calls
from tests.service_process import ServiceProcess, eventually

from slidekin_server.access.errors import AccessSetupError, IdentityProviderError
from slidekin_server.access.provider_keys import ProviderKeys

GRANTS = [{"identity": "oidc:root", "role": "admin", "collections": ["*"]}]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def issuer(authority: Authority) -> Iterator[Issuer]:
    with Issuer(authority.ca.issue_cert("127.0.0.1")).serving() as running:
        yield running


def found(issuer: Issuer, ca_file: Path | None, jwks_url: str | None = None) -> bool:
    """Whether the issuer's key is had of it."""

    async def ask() -> bool:
        keys = ProviderKeys(
            issuer.url, jwks_url=jwks_url, ca_file=ca_file, refresh_s=60, timeout_s=10
        )
        return await keys.find("first") is not None

    return asyncio.run(ask())


def test_a_service_believes_the_provider_that_its_authority_vouches_for(
    tmp_path: Path, authority: Authority, issuer: Issuer
):
    stranger = Authority(tmp_path / "stranger")
    issuer.show(stranger.ca.issue_cert("127.0.0.1"))
    provider = {"issuer": issuer.url, "audience": AUDIENCE, "ca_file": str(authority.ca_file)}
    access = {"required": True, "grants": GRANTS, "oidc": {**provider, "refresh_s": 1.0}}
    with ServiceProcess(tmp_path, {"access": access}) as service, service.channel() as channel:

        def refused(token: str) -> str:
            try:
                Calls(showing(channel, token)).held()
            except grpc.RpcError as error:
                return str(error.details())
            return ""

        first = issuer.token("root")
        told = refusal(Calls(showing(channel, first)).create)
        assert (told.code, told.info.reason) == (
            grpc.StatusCode.UNAVAILABLE,
            "IDENTITY_PROVIDER_UNAVAILABLE",
        )
        assert "shows a certificate that is not accepted" in told.message
        log = service.log.read_text(encoding="utf-8")
        assert "identity provider cannot be asked" in log
        assert "access.oidc.ca_file must vouch for it" in log
        assert issuer.asked == issuer.discovered == 0

        issuer.show(authority.ca.issue_cert("127.0.0.1"))
        eventually(lambda: "certificate" not in refused(first))
        Calls(showing(channel, first)).create()
        assert issuer.discovered == 1

        # Keys that are withdrawn are noticed although nobody shows a new one.
        issuer.rotate("second", curve=True)
        eventually(lambda: "signing key is not one of" in refused(first))
        assert refused(issuer.token("root")) == ""


def test_keys_are_had_from_where_the_settings_say_and_nothing_is_discovered(
    authority: Authority, issuer: Issuer
):
    assert found(issuer, authority.ca_file, issuer.keys_url)
    assert (issuer.asked, issuer.discovered) == (1, 0)


@pytest.mark.parametrize(
    ("identity", "valid_days"), [("login.example", 30), ("127.0.0.1", -1)], ids=["name", "expired"]
)
@pytest.mark.parametrize("discover", [True, False])
def test_a_certificate_of_another_name_or_time_is_not_accepted(
    authority: Authority, issuer: Issuer, identity: str, valid_days: int, *, discover: bool
):
    until = datetime.now(UTC) + timedelta(days=valid_days)
    issuer.show(authority.ca.issue_cert(identity, not_after=until))
    with pytest.raises(IdentityProviderError, match="shows a certificate that is not accepted"):
        found(issuer, authority.ca_file, None if discover else issuer.keys_url)
    assert issuer.asked == issuer.discovered == 0


def test_of_an_unknown_authority_the_system_does_not_vouch(issuer: Issuer):
    with pytest.raises(IdentityProviderError, match="shows a certificate that is not accepted"):
        found(issuer, None)


def test_keys_that_are_not_encrypted_are_not_asked_for(authority: Authority, issuer: Issuer):
    with Issuer().serving() as plain:
        issuer.keys_url = plain.keys_url
        with pytest.raises(IdentityProviderError, match="does not answer"):
            found(issuer, authority.ca_file)
        assert (issuer.discovered, plain.asked) == (1, 0)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_of_authorities_that_cannot_be_used_is_named(tmp_path: Path, content: str | None):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(AccessSetupError, match=r"access\.oidc\.ca_file: .*ca\.pem cannot be used"):
        ProviderKeys("https://127.0.0.1:1", jwks_url=None, ca_file=file, refresh_s=60, timeout_s=10)
