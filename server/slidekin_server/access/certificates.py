"""Certificates of the gRPC interface: checked before they are used, replaced while it listens."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from slidekin_server.access.errors import AccessSetupError
from slidekin_server.telemetry import get_logger

SERVER: Final = "server"
CLIENT_CA: Final = "client_ca"

_log = get_logger(__name__)

OnExpiry = Callable[[str, float], None]
"""Called with a certificate (`SERVER`, `CLIENT_CA`) and its expiry, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of the certificates, as PEM."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    """If set, clients must have a certificate issued by one of these."""


@dataclass(frozen=True, slots=True)
class _Content:
    """The content of the files."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None

    @property
    def digest(self) -> bytes:
        parts = (self.certificate, self.key, self.client_ca or b"")
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


class Certificates:
    """The certificates in use.

    Existing connections keep the certificate they were made with; new ones get the newest.

    Args:
        files: Their files.
        on_expiry: Called for each certificate that comes into use.

    Raises:
        AccessSetupError: They cannot be used; says which file and why.
    """

    def __init__(self, files: TlsFiles, on_expiry: OnExpiry) -> None:
        self._files = files
        self._on_expiry = on_expiry
        content = self._read()
        self._use(content, _check(files, content))
        self._seen = content.digest
        self._trouble = ""
        self._told = False
        if self._expires <= datetime.now(UTC):
            _log.error("certificate has expired", problem=f"{self._expires:%Y-%m-%d %H:%M} UTC")

    def credentials(self) -> grpc.ServerCredentials:
        """Return the server's credentials: each new connection uses the current certificates."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration,
            lambda: self._configuration,
            require_client_authentication=self._files.client_ca is not None,
        )

    def refresh(self) -> None:
        """Load changed files if they can be used. Blocks; never raises."""
        try:
            content = self._read()
            digest = content.digest
            if digest == self._seen:
                return
            expires = _check(self._files, content)
        except AccessSetupError as error:
            self._complain(str(error))
            return
        if expires[SERVER] <= datetime.now(UTC) < self._expires:
            self._complain(f"{self._files.certificate} has expired, and the one in use has not")
            return
        self._use(content, expires)
        self._seen = digest
        self._trouble = ""
        _log.info("certificates replaced")

    def _complain(self, trouble: str) -> None:
        """Report lasting trouble only: certificate and key are seldom replaced in one step."""
        if trouble != self._trouble:
            self._trouble, self._told = trouble, False
        elif not self._told:
            self._told = True
            _log.error("new certificates cannot be used", problem=trouble)

    def _use(self, content: _Content, expires: dict[str, datetime]) -> None:
        self._configuration = grpc.ssl_server_certificate_configuration(
            [(content.key, content.certificate)], root_certificates=content.client_ca
        )
        self._expires = expires[SERVER]
        for which, time in expires.items():
            self._on_expiry(which, time.timestamp())

    def _read(self) -> _Content:
        client_ca = self._files.client_ca
        return _Content(
            _bytes(self._files.certificate),
            _bytes(self._files.key),
            None if client_ca is None else _bytes(client_ca),
        )


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise AccessSetupError(f"{file} cannot be read ({error.strerror})") from None


def _check(files: TlsFiles, content: _Content) -> dict[str, datetime]:
    """Return the expiry of each certificate.

    Raises:
        AccessSetupError: They cannot be used.
    """
    chain = _chain(files.certificate, content.certificate)
    try:
        key = load_pem_private_key(content.key, password=None)
    except (ValueError, TypeError) as error:
        raise AccessSetupError(
            f"{files.key} holds no private key that can be used: it must be PEM without a password "
            f"({type(error).__name__})"
        ) from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if chain[0].public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        raise AccessSetupError(
            f"{files.key} is not the key of {files.certificate}: both must be replaced together"
        )
    # A chain is valid only as long as its shortest-lived part.
    expires = {SERVER: min(one.not_valid_after_utc for one in chain)}
    if files.client_ca is not None and content.client_ca is not None:
        vouching = _chain(files.client_ca, content.client_ca)
        expires[CLIENT_CA] = min(one.not_valid_after_utc for one in vouching)
    return expires


def _chain(file: Path, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise AccessSetupError(f"{file} holds no certificate as PEM") from None
