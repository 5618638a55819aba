"""Certificates of a run: an authority, a client's, and the service's, which is replaced."""

from __future__ import annotations

from pathlib import Path

import trustme

from slidekin import Tls

CLIENT_NAME = "chaos"
"""Common name of the client's certificate."""


class Certificates:
    """Files in a folder.

    Args:
        folder: Where they are.
        address: IP address of the service.
    """

    def __init__(self, folder: Path, address: str) -> None:
        folder.mkdir()
        self._address = address
        self._authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.certificate, self.key = folder / "service.pem", folder / "service.key"
        self._client, self._client_key = folder / "client.pem", folder / "client.key"
        self._authority.cert_pem.write_to_path(str(self.ca))
        client = self._authority.issue_cert(f"{CLIENT_NAME}.test", common_name=CLIENT_NAME)
        client.private_key_pem.write_to_path(str(self._client_key))
        self._client.write_bytes(b"".join(blob.bytes() for blob in client.cert_chain_pems))
        self.renew()

    @property
    def tls(self) -> Tls:
        """How the SDK presents itself, and whom it believes."""
        return Tls(ca_file=self.ca, certificate_file=self._client, key_file=self._client_key)

    def renew(self) -> None:
        """Replace the service's certificate and key by new ones, of the same authority."""
        made = self._authority.issue_cert(self._address)
        _replace(self.key, made.private_key_pem.bytes())
        _replace(self.certificate, b"".join(blob.bytes() for blob in made.cert_chain_pems))

    def mix_up(self) -> None:
        """Replace the certificate alone: its key is another one."""
        made = self._authority.issue_cert(self._address)
        _replace(self.certificate, b"".join(blob.bytes() for blob in made.cert_chain_pems))


def _replace(file: Path, content: bytes) -> None:
    """Write a file in one step, for its owner alone."""
    draft = file.with_suffix(".draft")
    draft.touch(mode=0o600)
    draft.write_bytes(content)
    draft.replace(file)
