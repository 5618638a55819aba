"""Sets up access from the settings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc

from slidekin_server.access.audit import AuditLog
from slidekin_server.access.audit_file import RotatedFile
from slidekin_server.access.authenticator import Authenticator, Open
from slidekin_server.access.certificates import Certificates, TlsFiles
from slidekin_server.access.errors import AccessSetupError
from slidekin_server.access.keys import KeyRing
from slidekin_server.access.provider_keys import ProviderKeys
from slidekin_server.access.pseudonyms import Pseudonyms
from slidekin_server.access.refreshing import Refreshed, refresh_every
from slidekin_server.access.roles import Grant, GrantTable, Role
from slidekin_server.access.tokens import TokenChecker, TokenRules
from slidekin_server.config import AccessSettings, Oidc, Settings
from slidekin_server.telemetry import Metrics, get_logger

_KEYS_REFRESH_S = 1.0

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """The parts of access that the server uses."""

    identifies: Authenticator | Open
    """Identifies the caller of a call."""
    credentials: grpc.ServerCredentials | None
    """The server's credentials; None: calls are not encrypted."""
    audit: AuditLog | None
    """Records each call; None: nothing is recorded."""


@contextlib.asynccontextmanager
async def open_access(settings: Settings, metrics: Metrics) -> AsyncIterator[Access]:
    """Set up access from the settings, and reload its files when they change, until the end.

    Raises:
        AccessSetupError: A file cannot be used.
    """
    for exposure in settings.exposures:
        _log.warning(
            "open to strangers, as `insecure` allows", host=settings.listen.host, problem=exposure
        )
    async with contextlib.AsyncExitStack() as stack:
        credentials = None
        if settings.tls.certificate_file is not None and settings.tls.key_file is not None:
            files = TlsFiles(
                settings.tls.certificate_file, settings.tls.key_file, settings.tls.client_ca_file
            )
            certificates = await asyncio.to_thread(
                Certificates, files, lambda which, time: _tell_expiry(metrics, which, time)
            )
            credentials = certificates.credentials()
            _follow(stack, settings.tls.reload_interval_s, certificates)
        identifies: Authenticator | Open = Open()
        if settings.access.required:
            identifies = await _authenticator(settings, stack)
        audit = None
        if settings.audit.enabled:
            audit = await asyncio.to_thread(_audit, settings, metrics)
            stack.callback(audit.close)
        yield Access(identifies, credentials, audit)


async def _authenticator(settings: Settings, stack: contextlib.AsyncExitStack) -> Authenticator:
    access = settings.access
    keys = await asyncio.to_thread(KeyRing, settings.access_path)
    stack.callback(keys.close)
    _follow(stack, _KEYS_REFRESH_S, keys)
    tokens = await asyncio.to_thread(_tokens, access.oidc)
    certificates = settings.tls.client_ca_file is not None
    if not (len(keys) or tokens or certificates):
        _log.warning(
            "nobody can call yet",
            problem="there are no API keys, no identity provider and no client certificates: "
            "`slidekin-server keys create` makes a key, which counts at once",
        )
    authenticator = Authenticator(
        keys,
        tokens,
        _table(access),
        certificates=certificates,
        certificate_name=access.certificate_name,
    )
    stack.push_async_callback(authenticator.close)
    return authenticator


def _audit(settings: Settings, metrics: Metrics) -> AuditLog:
    path = settings.audit_path
    file = RotatedFile(path, max_bytes=settings.audit.max_bytes, files=settings.audit.files)
    pseudonyms = Pseudonyms.of(settings.access_path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return AuditLog(file, pseudonyms, metrics, refuse=settings.audit.when_full == "refuse")
    except OSError as error:
        raise AccessSetupError(
            f"the audit log {path} cannot be written ({error.strerror}): free its disk or let the "
            "service write there, set audit.path to another place, or audit.enabled to false"
        ) from None


def _follow(stack: contextlib.AsyncExitStack, interval_s: float, *followers: Refreshed) -> None:
    task = asyncio.create_task(refresh_every(interval_s, followers))

    async def end() -> None:
        task.cancel()
        await asyncio.wait({task})

    stack.push_async_callback(end)


def _tell_expiry(metrics: Metrics, which: str, time: float) -> None:
    metrics.certificate_expiry.labels(which).set(time)


def _tokens(oidc: Oidc) -> TokenChecker | None:
    if oidc.issuer is None or oidc.audience is None:
        return None
    keys = ProviderKeys(
        oidc.issuer,
        jwks_url=oidc.jwks_url,
        ca_file=oidc.ca_file,
        refresh_s=oidc.refresh_s,
        timeout_s=oidc.timeout_s,
    )
    rules = TokenRules(
        issuer=oidc.issuer,
        audience=oidc.audience,
        algorithms=oidc.algorithms,
        identity_claim=oidc.identity_claim,
        groups_claim=oidc.groups_claim,
        leeway_s=oidc.leeway_s,
    )
    return TokenChecker(rules, keys)


def _table(access: AccessSettings) -> GrantTable:
    return GrantTable(
        (grant.identity, Grant(Role[grant.role.upper()], collections))
        for grant in access.grants
        for collections in grant.collections
    )
