"""Commands for administrators: ``keys create``, ``keys list``, ``keys revoke``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from slidekin_server.access.errors import AccessSetupError
from slidekin_server.access.key_file import KeyFile
from slidekin_server.access.keys import LastUse
from slidekin_server.access.roles import ALL_COLLECTIONS, Grant, Role
from slidekin_server.config import ConfigError, load_settings

app = typer.Typer(
    help="API keys. What changes here counts for a running service within two seconds.",
    no_args_is_help=True,
)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The service's YAML file: it says where its keys are.",
        show_default="$SLIDEKIN_SERVER_CONFIG",
    ),
]
RoleName = StrEnum("RoleName", {role.name: role.text for role in Role})  # type: ignore[misc]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who uses it: the identity is key:NAME.")],
    *,
    role: Annotated[RoleName, typer.Option(help="What it may do.")],
    collection: Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            help="Where; '*' stands for any characters. May be repeated.",
            show_default="'*'",
        ),
    ] = None,
    expires_days: Annotated[
        int | None,
        typer.Option(min=1, max=36500, help="Days until it expires.", show_default="never"),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Make a key and print it. It is shown this once: only its hash is kept."""
    expires = None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days)
    try:
        grants = [Grant(Role[role.name], pattern) for pattern in collection or (ALL_COLLECTIONS,)]
        key, text = KeyFile(access_folder(config)).create(name, grants, expire_time=expires)
    except (AccessSetupError, ValueError) as error:
        fail(str(error))
    where = ", ".join(grant.collections for grant in grants)
    until = "does not expire" if expires is None else f"expires {expires:%Y-%m-%d}"
    typer.echo(f"key {key.key_id} of {name}: {role.value} of {where}, {until}", err=True)
    typer.echo(text)


@app.command("list")
def list_(*, config: ConfigOption = None) -> None:
    """List all keys: whose, for what, and when each was used last."""
    folder = access_folder(config)
    try:
        keys = KeyFile(folder).read()
    except AccessSetupError as error:
        fail(str(error))
    used = LastUse.read(folder)
    now = datetime.now(UTC)
    rows = [("id", "name", "state", "role", "collections", "created", "expires", "last use")]
    for key in keys:
        last = used.get(key.key_id)
        rows.append(
            (
                key.key_id,
                key.name,
                key.state(now),
                "/".join(sorted({grant.role.text for grant in key.grants})),
                ",".join(grant.collections for grant in key.grants),
                _day(key.create_time),
                "never" if key.expire_time is None else _day(key.expire_time),
                "never" if last is None else last[:16].replace("T", " "),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, or its name where that has one key only.")],
    *,
    config: ConfigOption = None,
) -> None:
    """Revoke a key for good. Calls that have begun go on to their end."""
    try:
        revoked = KeyFile(access_folder(config)).revoke(key)
    except AccessSetupError as error:
        fail(str(error))
    typer.echo(f"key {revoked.key_id} of {revoked.name} is revoked")


def access_folder(config: Path | None) -> Path:
    """Return the folder of access that a service's settings name; end the command otherwise."""
    try:
        return load_settings(config).access_path
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(2) from None


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d}"


def fail(problem: str) -> NoReturn:
    """Say what went wrong and end the command."""
    typer.echo(problem, err=True)
    raise typer.Exit(1)
