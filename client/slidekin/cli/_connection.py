"""How commands reach the service: its address, encryption, and what says who is calling."""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

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
    api_key = os.environ.get(API_KEY_VARIABLE)
    if api_key_file is not None:
        api_key = api_key_file.read_text(encoding="utf-8").strip()
    _connection.set(
        Connection(
            Tls(ca_file, certificate_file, key_file, server_name) if encrypted else None,
            api_key or None,
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
    token_file = wanted.token_file

    def token() -> str:
        assert token_file is not None, "asked for only where there is one"
        return token_file.read_text(encoding="utf-8").strip()

    try:
        return Client(
            server,
            tls=wanted.tls,
            api_key=wanted.api_key,
            token=None if token_file is None else token,
            plaintext_credentials=wanted.plaintext_credentials,
        )
    except ValueError as error:
        raise CommandError(
            str(error)
            .replace("give either api_key or token", "give an API key or a token, not both")
            .replace("plaintext_credentials=True", "--plaintext-credentials")
            .replace("give tls", "give --tls or --ca-file before the command")
            .replace("certificate_file and key_file", "--certificate-file and --key-file")
        ) from None
