"""How this package's commands reach a running service, which may ask who is calling."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import grpc
import typer

from slidekin_server.config import is_loopback

API_KEY_VARIABLE = "SLIDEKIN_API_KEY"

ServerOption = Annotated[
    str, typer.Option(envvar="SLIDEKIN_SERVER", help="HOST:PORT of the running service.")
]
CaFileOption = Annotated[
    Path | None,
    typer.Option(
        envvar="SLIDEKIN_CA_FILE",
        help="Encrypt; these certificates (PEM) vouch for the service. Where it asks who is "
        "calling, SLIDEKIN_API_KEY holds the key.",
    ),
]
CertificateFileOption = Annotated[
    Path | None,
    typer.Option(envvar="SLIDEKIN_CERTIFICATE_FILE", help="Certificate of one's own (PEM)."),
]
KeyFileOption = Annotated[
    Path | None, typer.Option(envvar="SLIDEKIN_KEY_FILE", help="The key of that certificate.")
]


class DiallingError(Exception):
    """The service cannot be reached in the way that is asked for."""


class Service(NamedTuple):
    """A service that is reached."""

    channel: grpc.Channel
    metadata: tuple[tuple[str, str], ...]
    """To go with every call."""


@contextlib.contextmanager
def dialled(
    server: str,
    *,
    ca_file: Path | None = None,
    certificate_file: Path | None = None,
    key_file: Path | None = None,
) -> Iterator[Service]:
    """Give a channel to a service, and the API key of the environment as a header.

    Raises:
        DiallingError: A file is missing, the key is none, or it would travel where others listen.
    """
    if ca_file is None and (certificate_file is not None or key_file is not None):
        raise DiallingError("a certificate needs an encrypted way: give --ca-file beside it")
    if (certificate_file is None) != (key_file is None):
        raise DiallingError("--certificate-file and --key-file belong together: give both")
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    if not key.isascii() or not key.isprintable():
        raise DiallingError(
            f"{API_KEY_VARIABLE} holds no key: one line of letters, digits and signs"
        )
    host = server.rpartition(":")[0].strip("[]")
    if key and ca_file is None and not is_loopback(host):
        raise DiallingError(
            f"the way to {server} is not encrypted, and whoever listens there could take the key "
            f"of {API_KEY_VARIABLE}: give --ca-file"
        )
    if ca_file is None:
        made = grpc.insecure_channel(server)
    else:
        made = grpc.secure_channel(
            server,
            grpc.ssl_channel_credentials(
                _content(ca_file), _content(key_file), _content(certificate_file)
            ),
        )
    with made as channel:
        yield Service(channel, (("authorization", f"Bearer {key}"),) if key else ())


def _content(file: Path | None) -> bytes | None:
    try:
        return None if file is None else file.read_bytes()
    except OSError as error:
        raise DiallingError(f"{file} cannot be read ({error.strerror})") from None
