"""How the gRPC interface is reached: address and encryption."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import model_validator

from slidekin_server.config.section import Host, Port, Seconds, Section


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there; a name but localhost may be any."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def dial_host(host: str) -> str:
    """Where this machine reaches what listens on ``host``; in brackets where it is IPv6."""
    host = host.strip("[]")
    # Whoever listens on every address is reached on loopback.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  not bound here
    return f"[{host}]" if ":" in host else host


class Listen(Section):
    """Where the gRPC interface listens."""

    host: Host = "127.0.0.1"
    port: Port = 50051
    max_connection_age_s: Seconds = 1800.0
    max_connection_age_grace_s: Seconds = 3600.0


class TlsSettings(Section):
    """Encryption of the gRPC interface."""

    certificate_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None
    reload_interval_s: Seconds = 5.0

    @property
    def enabled(self) -> bool:
        """Whether the interface is encrypted."""
        return self.certificate_file is not None

    @model_validator(mode="after")
    def _complete(self) -> TlsSettings:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together: set both or none")
        if self.client_ca_file is not None and not self.enabled:
            raise ValueError("client_ca_file needs certificate_file and key_file beside it")
        return self
