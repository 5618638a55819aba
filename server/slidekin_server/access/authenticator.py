"""Identifies the caller of a call, and what they may do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from slidekin_server.access.errors import UnauthenticatedError
from slidekin_server.access.key_file import PREFIX
from slidekin_server.access.keys import KeyRing
from slidekin_server.access.roles import EVERYTHING, Grants, GrantTable
from slidekin_server.access.tokens import TokenChecker

ANONYMOUS = "anonymous"
_CLAIMS = {
    "common_name": "x509_common_name",
    "alternative_name": "x509_subject_alternative_name",
}
"""gRPC's terms for a certificate's names, by the terms of the settings."""

Peer = Mapping[str, Iterable[bytes]]
"""What gRPC tells about the other end of a connection."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller."""

    identity: str
    """``anonymous``, or kind and name: ``key:lab``, ``cert:scanner-3``, ``oidc:jane``."""
    grants: Grants


class Open:
    """No authentication: everybody may do everything."""

    async def identify(
        self,
        metadata: Sequence[tuple[str, str | bytes]],  # noqa: ARG002
        peer: Peer,  # noqa: ARG002
    ) -> Principal:
        """Return the principal that stands for every caller."""
        return Principal(ANONYMOUS, EVERYTHING)


class Authenticator:
    """Identifies callers by an API key, a token or a client certificate.

    A key or a token takes precedence over a certificate: it was chosen for the call, while a
    certificate belongs to the connection, which a proxy may have made.

    Args:
        keys: API keys.
        tokens: Checks bearer tokens; None: none are accepted.
        certificates: Whether connections use client certificates.
        certificate_name: ``common_name`` or ``alternative_name``: which of its names is used.
        granted: Roles in addition to those of the API keys.
    """

    def __init__(
        self,
        keys: KeyRing,
        tokens: TokenChecker | None,
        granted: GrantTable,
        *,
        certificates: bool,
        certificate_name: str,
    ) -> None:
        self._keys = keys
        self._tokens = tokens
        self._granted = granted
        self._certificates = certificates
        self._claim = _CLAIMS[certificate_name]

    async def identify(self, metadata: Sequence[tuple[str, str | bytes]], peer: Peer) -> Principal:
        """Return the caller of a call.

        Raises:
            UnauthenticatedError: The call has no credentials, or they are not valid.
            IdentityProviderError: The credentials cannot be checked now.
        """
        shown = _shown(metadata)
        if shown is not None:
            if shown.startswith(PREFIX):
                key = self._keys.find(shown)
                identity = f"key:{key.name}"
                return Principal(identity, self._granted.of([identity], beside=key.grants))
            if self._tokens is None:
                raise UnauthenticatedError(
                    "the credential is no API key, and this service accepts no tokens: use a key "
                    "made by `slidekin-server keys create`",
                    reason="TOKENS_NOT_ACCEPTED",
                )
            bearer = await self._tokens.check(shown)
            identity = f"oidc:{bearer.name}"
            groups = [f"group:{group}" for group in bearer.groups]
            return Principal(identity, self._granted.of([identity, *groups]))
        if self._certificates:
            identity = f"cert:{self._certified(peer)}"
            return Principal(identity, self._granted.of([identity]))
        raise UnauthenticatedError(
            "this service asks who is calling: send an API key or a token "
            "(`authorization: Bearer ...`; SLIDEKIN_API_KEY for the command)",
            reason="CREDENTIALS_MISSING",
        )

    async def close(self) -> None:
        """Wait for requests in progress."""
        if self._tokens is not None:
            await self._tokens.close()

    def _certified(self, peer: Peer) -> str:
        names = [name.decode("utf-8", "replace") for name in peer.get(self._claim, ())]
        if not names or not names[0] or not names[0].isprintable():
            raise UnauthenticatedError(
                f"the client certificate has no {self._claim.removeprefix('x509_')}, by which this "
                "service knows callers: have one issued that has",
                reason="CERTIFICATE_UNNAMED",
            )
        return names[0]


def _shown(metadata: Sequence[tuple[str, str | bytes]]) -> str | None:
    """Return the credential that a call carries.

    Raises:
        UnauthenticatedError: It carries several, or one of an unknown form.
    """
    stated = [value for name, value in metadata if name == "authorization"]
    if not stated:
        return None
    scheme, _, credential = str(stated[0]).partition(" ")
    if len(stated) > 1 or scheme.lower() != "bearer" or not credential.strip():
        raise UnauthenticatedError(
            "the header `authorization` must stand once and hold `Bearer` and the key or token",
            reason="CREDENTIALS_MALFORMED",
        )
    return credential.strip()
