"""Certificates for tests, made on the spot."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import trustme


@dataclass
class Authority:
    """Somebody who vouches for others, and the files that a service or a client reads."""

    folder: Path
    ca: trustme.CA = field(default_factory=trustme.CA)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca.cert_pem.write_to_path(str(self.ca_file))

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def server_settings(self) -> dict[str, Any]:
        """The section ``tls``, once ``issue`` made the files."""
        return {
            "certificate_file": str(self.folder / "server.pem"),
            "key_file": str(self.folder / "server.key"),
            "reload_interval_s": 0.1,
        }

    def issue(
        self, name: str = "server", *, common_name: str | None = None, days: float = 30
    ) -> trustme.LeafCert:
        """Write NAME.pem and NAME.key, for this machine."""
        leaf = self.ca.issue_cert(
            "127.0.0.1",
            "localhost",
            common_name=common_name,
            not_after=datetime.now(UTC) + timedelta(days=days),
        )
        (self.folder / f"{name}.pem").write_bytes(
            b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        )
        leaf.private_key_pem.write_to_path(str(self.folder / f"{name}.key"))
        return leaf

    def channel(self, leaf: trustme.LeafCert | None = None) -> grpc.ChannelCredentials:
        """What a client needs that trusts this authority, with a certificate of its own or none."""
        if leaf is None:
            return grpc.ssl_channel_credentials(self.ca.cert_pem.bytes())
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return grpc.ssl_channel_credentials(
            self.ca.cert_pem.bytes(), leaf.private_key_pem.bytes(), chain
        )
