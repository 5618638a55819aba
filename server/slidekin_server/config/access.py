"""Who may call what, and the record of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, model_validator

from slidekin_server.config.network import is_loopback
from slidekin_server.config.section import MIB, Positive, Seconds, Section, list_from_text

CollectionPattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9*][A-Za-z0-9._*-]{0,127}$")]
"""A collection's id, or several: ``*`` stands for any characters."""
# With a secret that both sides share, whoever checks a token could also make one.
SigningAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]


class GrantSettings(Section):
    """A role for some callers in some collections."""

    identity: Annotated[str, Field(pattern=r"^(key|cert|oidc|group):.+$")]
    role: Literal["reader", "writer", "admin"]
    collections: Annotated[tuple[CollectionPattern, ...], Field(min_length=1)]


class Oidc(Section):
    """Tokens of an OpenID Connect provider."""

    issuer: str | None = None
    audience: str | None = None
    jwks_url: str | None = None
    ca_file: Path | None = None
    algorithms: Annotated[tuple[SigningAlgorithm, ...], BeforeValidator(list_from_text)] = (
        "RS256",
        "ES256",
    )
    identity_claim: Annotated[str, Field(min_length=1)] = "sub"
    groups_claim: str | None = None
    leeway_s: Annotated[float, Field(ge=0, le=600)] = 60.0
    refresh_s: Seconds = 300.0
    timeout_s: Seconds = 5.0

    @model_validator(mode="after")
    def _complete(self) -> Oidc:
        if self.issuer is None:
            return self
        if not self.audience:
            raise ValueError(
                "audience must be set: tokens made for other services are refused by it"
            )
        for name in ("issuer", "jwks_url"):
            url = getattr(self, name)
            if url is not None and not _is_safe_url(url):
                raise ValueError(
                    f"{name} ({url}) must begin with https:// unless it is on loopback"
                )
        return self


class AccessSettings(Section):
    """Who may call what."""

    required: bool = False
    path: Path | None = None
    certificate_name: Literal["common_name", "alternative_name"] = "common_name"
    grants: Annotated[tuple[GrantSettings, ...], BeforeValidator(list_from_text)] = ()
    oidc: Oidc = Oidc()


class Audit(Section):
    """The record of who called what."""

    enabled: bool = True
    path: Path | None = None
    max_bytes: Annotated[int, Field(ge=4096)] = 100 * MIB
    files: Positive = 20
    when_full: Literal["serve", "refuse"] = "serve"


def _is_safe_url(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "http":
        return is_loopback(parts.hostname or "")
    return parts.scheme == "https" and bool(parts.hostname)
