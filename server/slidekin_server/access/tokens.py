"""OIDC bearer tokens: checks them, and identifies their callers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from slidekin_server.access.errors import UnauthenticatedError
from slidekin_server.access.provider_keys import ProviderKeys

_MAX_TOKEN_BYTES = 16 * 1024
_MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must state, and which claims identify the caller."""

    issuer: str
    audience: str
    algorithms: Sequence[str]
    identity_claim: str = "sub"
    groups_claim: str | None = None
    leeway_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Bearer:
    """The holder of a token."""

    name: str
    groups: tuple[str, ...] = ()


class TokenChecker:
    """Checks the tokens of one provider.

    Args:
        rules: What the tokens must state.
        keys: The provider's keys.
    """

    def __init__(self, rules: TokenRules, keys: ProviderKeys) -> None:
        self._rules = rules
        self._keys = keys

    async def check(self, token: str) -> Bearer:
        """Return the holder of a token.

        Raises:
            UnauthenticatedError: The token is not valid; says why.
            IdentityProviderError: The provider's keys are not available.
        """
        rules = self._rules
        if len(token) > _MAX_TOKEN_BYTES:
            raise _invalid(f"it is longer than {_MAX_TOKEN_BYTES} bytes")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise _invalid("it is neither an API key nor a JSON Web Token") from None
        # Check this before asking the provider: an invalid token must not cause a request to it.
        if header.get("alg") not in rules.algorithms:
            raise _invalid(f"it is not signed with one of {', '.join(rules.algorithms)}")
        key = await self._keys.find(header.get("kid"))
        if key is None:
            raise _invalid("its signing key is not one of its issuer's")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=list(rules.algorithms),
                audience=rules.audience,
                issuer=rules.issuer,
                leeway=rules.leeway_s,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise UnauthenticatedError(
                "the token has expired: get a fresh one", reason="TOKEN_EXPIRED"
            ) from None
        except jwt.InvalidAudienceError:
            raise _invalid(f"it is not made out for {rules.audience}") from None
        except jwt.InvalidIssuerError:
            raise _invalid(f"it is not from {rules.issuer}") from None
        except jwt.InvalidSignatureError:
            raise _invalid("its signature is wrong") from None
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise _invalid(f"{type(error).__name__.removesuffix('Error')}") from None
        return self._bearer(claims)

    async def close(self) -> None:
        """Wait for requests in progress."""
        await self._keys.close()

    def _bearer(self, claims: dict[str, Any]) -> Bearer:
        name = claims.get(self._rules.identity_claim)
        if not isinstance(name, str) or not _is_name(name):
            raise _invalid(f"its claim {self._rules.identity_claim} names nobody")
        groups: object = claims.get(self._rules.groups_claim or "", ())
        if not isinstance(groups, list):
            groups = ()
        return Bearer(name, tuple(one for one in groups if isinstance(one, str) and _is_name(one)))


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _MAX_NAME and text.isprintable()


def _invalid(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(f"the bearer token is refused: {why}", reason="TOKEN_INVALID")
