"""Certificates that are replaced while the service runs, well and badly."""

from __future__ import annotations

import random
import socket
import ssl
import time

from tests.chaos.fault import EVERYTHING, Fault
from tests.chaos.stack import RELOAD_S, Stack

_PRESENTED_S = 10.0


class CertificateReplaced(Fault):
    """New certificate and key: connections that stand go on, new ones see the new one."""

    name = "certificate replaced"
    spares = EVERYTHING

    def inject(self, stack: Stack, chance: random.Random) -> str:
        stack.certificates.renew()
        _wait_until_presented(stack)
        return "new certificate and key"

    def heal(self, stack: Stack) -> None:
        _check_new_connection(stack)


class CertificateMixedUp(Fault):
    """A certificate with another one's key: the service goes on with what it had."""

    name = "certificate mixed up"
    spares = EVERYTHING

    def inject(self, stack: Stack, chance: random.Random) -> str:
        before = _presented(stack)
        stack.certificates.mix_up()
        time.sleep(4 * RELOAD_S)
        if _presented(stack) != before:
            raise AssertionError("the service presents a certificate to which it has no key")
        _check_new_connection(stack)
        return "a certificate without its key"

    def heal(self, stack: Stack) -> None:
        stack.certificates.renew()
        _wait_until_presented(stack)


def _presented(stack: Stack) -> str:
    """The certificate (PEM) that a new connection gets."""
    tls = stack.certificates.tls
    assert tls.certificate_file is not None
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.load_cert_chain(tls.certificate_file, tls.key_file)
    context.set_alpn_protocols(["h2"])
    host, _, port = stack.target.partition(":")
    with (
        socket.create_connection((host, int(port)), timeout=_PRESENTED_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as encrypted,
    ):
        shown = encrypted.getpeercert(binary_form=True)
    assert shown is not None
    return ssl.DER_cert_to_PEM_cert(shown)


def _wait_until_presented(stack: Stack) -> None:
    """Wait until new connections get the certificate that is on disk."""
    deadline = time.monotonic() + _PRESENTED_S
    wanted = stack.certificates.certificate.read_text(encoding="ascii")
    while _presented(stack).strip() not in wanted:
        if time.monotonic() > deadline:
            raise AssertionError(f"the new certificate was not taken in {_PRESENTED_S:.0f} s")
        time.sleep(0.1)


def _check_new_connection(stack: Stack) -> None:
    with stack.client() as client:
        client.status()
