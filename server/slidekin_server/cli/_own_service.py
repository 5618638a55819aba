"""A channel to the service that runs with the same settings, on this machine."""

from __future__ import annotations

import grpc
from cryptography import x509

from slidekin_server.config import Settings, TlsSettings, dial_host


class OwnServiceError(Exception):
    """The service cannot be asked; says which file is in the way."""


def own_target(settings: Settings) -> str:
    """Where the service is reached from this machine: ``HOST:PORT``."""
    return f"{dial_host(settings.listen.host)}:{settings.listen.port}"


def own_channel(settings: Settings) -> grpc.Channel:
    """Open a channel to the service.

    Whoever may read its key is known to it: its own certificate is what is trusted, and where
    clients must have one, it is the one that is shown.

    Raises:
        OwnServiceError: A certificate cannot be read.
    """
    # A proxy that the environment names is for what lies outside of this machine.
    options: list[tuple[str, int | str]] = [("grpc.enable_http_proxy", 0)]
    if not settings.tls.enabled:
        return grpc.insecure_channel(own_target(settings), options=options)
    certificate, key = _files(settings.tls)
    try:
        name = _name(x509.load_pem_x509_certificates(certificate)[0])
    except ValueError:
        raise OwnServiceError(
            f"{settings.tls.certificate_file} holds no certificate as PEM"
        ) from None
    credentials = grpc.ssl_channel_credentials(
        root_certificates=certificate,
        private_key=key if settings.tls.client_ca_file else None,
        certificate_chain=certificate if settings.tls.client_ca_file else None,
    )
    # It is made out to a name by which this machine need not know itself.
    options.append(("grpc.ssl_target_name_override", name))
    return grpc.secure_channel(own_target(settings), credentials, options=options)


def _files(tls: TlsSettings) -> tuple[bytes, bytes]:
    assert tls.certificate_file is not None, "asked for only where TLS is on"
    assert tls.key_file is not None, "settings have both or none"
    try:
        return tls.certificate_file.read_bytes(), tls.key_file.read_bytes()
    except OSError as error:
        raise OwnServiceError(f"{error.filename} cannot be read ({error.strerror})") from None


def _name(certificate: x509.Certificate) -> str:
    """A name that the certificate is made out to."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    found = [
        str(one)
        for kind in (x509.DNSName, x509.IPAddress)
        for one in names.get_values_for_type(kind)
    ]
    # A wildcard stands for any name below it.
    return found[0].replace("*", "own", 1) if found else ""
