"""The public keys of an OpenID Connect provider: fetched in threads, kept, and fetched again."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt

from slidekin_server.access.errors import AccessSetupError, IdentityProviderError
from slidekin_server.telemetry import get_logger

_DISCOVERY = "/.well-known/openid-configuration"
_MAX_DISCOVERY_BYTES = 1024 * 1024
_PAUSE_S = 5.0
"""Least time between two requests to the provider that an unknown key or a failure causes."""
_TRUSTED_S = 24 * 3600.0
"""How long keys are trusted while the provider is away: a withdrawal is not noticed then."""

_log = get_logger(__name__)


class ProviderKeys:
    """The keys of one provider.

    Args:
        issuer: The issuer, as tokens state it.
        jwks_url: URL of the keys; None: the URL in the issuer's discovery document.
        ca_file: CA certificates to check the provider against; None: the system's.
        refresh_s: Age in seconds after which the keys are fetched again; the old ones stay in
            use until then.
        timeout_s: Of one request.
        clock: Monotonic seconds.

    Raises:
        AccessSetupError: The file of certificates cannot be used.
    """

    def __init__(
        self,
        issuer: str,
        *,
        jwks_url: str | None,
        ca_file: Path | None,
        refresh_s: float,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._refresh_s = refresh_s
        self._timeout_s = timeout_s
        self._clock = clock
        try:
            self._ssl = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        except OSError as error:
            raise AccessSetupError(
                f"access.oidc.ca_file: {ca_file} cannot be used ({error.strerror or error}): it "
                "must hold certificates as PEM"
            ) from None
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._got_at = self._asked_at = -float("inf")
        self._asking: asyncio.Task[None] | None = None
        self._failure = "does not answer"

    async def find(self, key_id: str | None) -> jwt.PyJWK | None:
        """Return a key; None if the provider has none with that id.

        Raises:
            IdentityProviderError: The provider has to be asked, and does not answer.
        """
        known = self._known(key_id)
        age_s = self._clock() - self._got_at
        if known is not None and age_s < self._refresh_s:
            return known
        if self._clock() - self._asked_at >= _PAUSE_S:
            self._ask()
        if known is not None and age_s < _TRUSTED_S:
            return known
        # A caller who gives up must not cancel the request for the others.
        if self._asking is not None:
            await asyncio.shield(self._asking)
        known = self._known(key_id)
        if self._got_at < self._asked_at or self._clock() - self._got_at >= _TRUSTED_S:
            raise IdentityProviderError(
                f"the identity provider {self._issuer} {self._failure}, so the token cannot be "
                "checked; API keys and certificates still work",
                retry_after_s=_PAUSE_S,
            )
        return known

    async def close(self) -> None:
        """Wait for a request in progress."""
        if self._asking is not None:
            await asyncio.wait({self._asking})

    def _known(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None and len(self._keys) == 1:
            # A provider with one key may omit its id.
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _ask(self) -> None:
        if self._asking is None or self._asking.done():
            self._asked_at = self._clock()
            self._asking = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        try:
            found = await asyncio.to_thread(self._get)
        except (
            OSError,
            ValueError,
            RecursionError,
            http.client.HTTPException,
            jwt.PyJWTError,
        ) as error:
            refused = _refused_certificate(error)
            if refused is None:
                self._failure, problem = "does not answer", type(error).__name__
            else:
                self._failure = "shows a certificate that is not accepted"
                problem = (
                    f"its certificate is not accepted ({refused.verify_message}): "
                    "access.oidc.ca_file must vouch for it"
                )
            _log.error("identity provider cannot be asked", url=self._issuer, problem=problem)
            return
        if set(found) != set(self._keys):
            _log.info("identity provider keys read", url=self._issuer, count=len(found))
        self._keys = found
        self._got_at = self._clock()

    def _get(self) -> dict[str | None, jwt.PyJWK]:
        if self._jwks_url is None:
            self._jwks_url = self._discovered()
        client = jwt.PyJWKClient(
            self._jwks_url, cache_jwk_set=False, timeout=self._timeout_s, ssl_context=self._ssl
        )
        keys = client.get_jwk_set().keys
        return {key.key_id: key for key in keys if key.public_key_use in {"sig", None}}

    def _discovered(self) -> str:
        url = self._issuer.rstrip("/") + _DISCOVERY
        # The settings allow https, and http only on loopback.
        with urllib.request.urlopen(  # noqa: S310
            url, timeout=self._timeout_s, context=self._ssl
        ) as answer:
            if url.startswith("https:") and not answer.url.startswith("https:"):
                raise ValueError("the provider leads to an address that is not encrypted")
            stated: Any = json.loads(answer.read(_MAX_DISCOVERY_BYTES))
        if not isinstance(stated, dict) or stated.get("issuer") != self._issuer:
            raise ValueError("the discovery document is another issuer's")
        found = str(stated.get("jwks_uri", ""))
        if not found.startswith("https://") and not self._issuer.startswith("http://"):
            raise ValueError("the discovery document names no encrypted address of keys")
        return found


def _refused_certificate(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """Return the error of the provider's certificate, if that is why the request failed."""
    cause: object = error
    while isinstance(cause, BaseException):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause
        # urllib stores it as the reason of its own error, and PyJWT stores that as a cause.
        cause = cause.reason if isinstance(cause, urllib.error.URLError) else cause.__cause__
    return None
