"""How commands reach the service: its address, encryption, and what says who is calling."""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from slidekin._credentials import is_local
from slidekin._sync import Client
from slidekin._transport import DEFAULT_TARGET
from slidekin._types import Tls
from slidekin.cli._common import CommandError
from slidekin.cli._home import default_home, read_stack

API_KEY_VARIABLE = "SLIDEKIN_API_KEY"


@dataclass(frozen=True, slots=True)
class Connection:
    """What the options before the command say."""

    tls: Tls | None = None
    api_key: str | None = None
    token_file: Path | None = None
    plaintext_credentials: bool = False


_connection: ContextVar[Connection | None] = ContextVar("connection", default=None)


def options(
    *,
    tls: Annotated[
        bool,
        typer.Option(
            "--tls",
            envvar="SLIDEKIN_TLS",
            help="Encrypt; the system's certificates vouch for the service.",
        ),
    ] = False,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            envvar="SLIDEKIN_CA_FILE", help="Encrypt; these certificates (PEM) vouch for it."
        ),
    ] = None,
    certificate_file: Annotated[
        Path | None,
        typer.Option(envvar="SLIDEKIN_CERTIFICATE_FILE", help="Certificate of one's own (PEM)."),
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(envvar="SLIDEKIN_KEY_FILE", help="The key of that certificate.")
    ] = None,
    server_name: Annotated[
        str | None,
        typer.Option(
            envvar="SLIDEKIN_SERVER_NAME",
            help="Name in the service's certificate, where it is not that of --server.",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            envvar="SLIDEKIN_API_KEY_FILE",
            help="File with the API key. SLIDEKIN_API_KEY holds the key itself.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar="SLIDEKIN_TOKEN_FILE",
            help="File with a bearer token; read before each call, so that it may be renewed.",
        ),
    ] = None,
    plaintext_credentials: Annotated[
        bool,
        typer.Option(
            "--plaintext-credentials",
            envvar="SLIDEKIN_PLAINTEXT_CREDENTIALS",
            help="Send key or token unencrypted, too, to another machine.",
        ),
    ] = False,
) -> None:
    """Find the slides of an archive that look alike."""
    files = (ca_file, certificate_file, key_file)
    encrypted = tls or server_name is not None or any(file is not None for file in files)
    # No option: what stands on a command line, every user of the machine can read.
    api_key = os.environ.get(API_KEY_VARIABLE) or None
    if api_key is not None:
        api_key = _credential(api_key, API_KEY_VARIABLE)
    if api_key_file is not None:
        api_key = _read_credential(api_key_file)
    _connection.set(
        Connection(
            Tls(ca_file, certificate_file, key_file, server_name) if encrypted else None,
            api_key,
            token_file,
            plaintext_credentials,
        )
    )


def connect(server: str | None) -> Client:
    """A client of the service that is meant: named, else started by ``up``, else the usual one.

    Raises:
        CommandError: The options do not fit together.
    """
    if server is None:
        stack = read_stack(default_home())
        server = stack.server if stack and stack.server else DEFAULT_TARGET
    wanted = _connection.get() or Connection()
    _check(wanted, server)
    token_file = wanted.token_file
    try:
        return Client(
            server,
            tls=wanted.tls,
            api_key=wanted.api_key,
            token=None if token_file is None else partial(_read_credential, token_file),
            plaintext_credentials=wanted.plaintext_credentials,
        )
    except ValueError as error:  # an address that is none
        raise CommandError(str(error)) from None


def _check(wanted: Connection, server: str) -> None:
    """Refuses what the SDK would refuse, in the words of the command's options."""
    tls = wanted.tls
    if tls is not None and (tls.certificate_file is None) != (tls.key_file is None):
        raise CommandError("--certificate-file and --key-file belong together: give both")
    if wanted.api_key is not None and wanted.token_file is not None:
        raise CommandError("give an API key or a token, not both")
    shown = wanted.api_key is not None or wanted.token_file is not None
    if shown and tls is None and not wanted.plaintext_credentials and not is_local(server):
        raise CommandError(
            f"the way to {server} is not encrypted, and whoever listens there could take the key "
            "or token: give --tls or --ca-file before the command, or --plaintext-credentials for "
            "a network that is closed by other means"
        )


def _read_credential(file: Path) -> str:
    return _credential(file.read_text(encoding="utf-8", errors="replace"), str(file))


def _credential(text: str, origin: str) -> str:
    """A key or token as it was written down.

    Raises:
        CommandError: It is none; ``origin`` tells where it came from.
    """
    stated = text.strip()
    if not stated or not stated.isascii() or not stated.isprintable():
        raise CommandError(
            f"{origin} holds no key or token: one line of letters, digits and signs is expected"
        )
    return stated
