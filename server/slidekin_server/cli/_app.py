"""The command ``slidekin-server``."""

from __future__ import annotations

import asyncio
import importlib.resources
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import typer.core
import yaml

from slidekin_server.cli._audit import app as audit_app
from slidekin_server.cli._durability import restore, snapshot, verify
from slidekin_server.cli._import_sish import import_sish
from slidekin_server.cli._keys import app as keys_app
from slidekin_server.config import ConfigError, Settings, load_settings

COMMANDS_GROUP = "slidekin_server.commands"
"""Entry points under which other packages add groups of commands."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="YAML file with settings. Environment variables win over it.",
        show_default="$SLIDEKIN_SERVER_CONFIG",
    ),
]


class _WithAdded(typer.core.TyperGroup):
    """A group that also holds the commands other packages add, loaded when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401  typer hides click's types
        """Return the names of all commands."""
        return [*super().list_commands(ctx), *sorted(_added())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """Return a command by its name; None where there is none."""
        entry = _added().get(cmd_name)
        return super().get_command(ctx, cmd_name) if entry is None else _load(entry)


def _added() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=COMMANDS_GROUP)}


def _load(entry: EntryPoint) -> Any:  # noqa: ANN401
    """Return the commands of an entry point; where they cannot be loaded, one that says why."""
    try:
        loaded: typer.Typer = entry.load()
    except ImportError as error:
        missing = str(error)
        loaded = typer.Typer(name=entry.name, add_completion=False)

        @loaded.command(
            entry.name,
            help="(not installed)",
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )
        def refuse() -> None:
            _fail(
                f"`{entry.name}` needs a package that is not installed ({missing}): "
                f"install slidekin[{entry.name}]"
            )

    command = typer.main.get_command(loaded)
    command.name = entry.name
    return command


def _fail(*problems: str, code: int = 1) -> NoReturn:
    for problem in problems:
        typer.echo(problem, err=True)
    raise typer.Exit(code)


app = typer.Typer(
    cls=_WithAdded,
    help="slidekin's search service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command()
def serve(
    *,
    config: ConfigOption = None,
    codes_only: Annotated[
        bool,
        typer.Option(
            "--codes-only",
            help="Serve without a model: patches come as ready-made codes only.",
        ),
    ] = False,
    state_file: Annotated[
        Path | None,
        typer.Option(help="Write pid and addresses there as JSON once the service listens."),
    ] = None,
    lifeline: Annotated[
        bool,
        typer.Option(
            "--lifeline", help="Stop when standard input ends, so as to end with the parent."
        ),
    ] = False,
) -> None:
    """Run the service until SIGTERM or SIGINT."""
    # Here, so that `--help` and `config` need not load the engine.
    from slidekin_server.access.errors import AccessSetupError  # noqa: PLC0415
    from slidekin_server.api.server import ListenError  # noqa: PLC0415
    from slidekin_server.app import RunOptions, run  # noqa: PLC0415
    from slidekin_server.bundle import BundleError  # noqa: PLC0415
    from slidekin_server.storage import StorageError  # noqa: PLC0415
    from slidekin_server.telemetry import (  # noqa: PLC0415
        ExpositionError,
        TracingError,
        configure_logging,
    )

    settings = _settings(config)
    configure_logging(settings.logging.level, settings.logging.format)
    options = RunOptions(codes_only=codes_only, state_file=state_file, lifeline=lifeline)
    try:
        asyncio.run(run(settings, options))
    except (
        AccessSetupError,
        BundleError,
        StorageError,
        ListenError,
        ExpositionError,
        TracingError,
    ) as error:
        _fail(str(error))


@app.command("config")
def show_config(
    *,
    config: ConfigOption = None,
    defaults: Annotated[
        bool,
        typer.Option("--defaults", help="Print the commented reference of all options instead."),
    ] = False,
) -> None:
    """Print the settings that `serve` would run with, as YAML."""
    if defaults:
        reference = importlib.resources.files("slidekin_server.config").joinpath("default.yaml")
        typer.echo(reference.read_text(encoding="utf-8"), nl=False)
        return
    settings = _settings(config)
    typer.echo(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), nl=False)


@app.command()
def health(
    *,
    config: ConfigOption = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Ask only whether the process answers, not whether it is ready."
        ),
    ] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds.")] = 5.0,
    wait_s: Annotated[
        float | None,
        typer.Option("--wait", help="Wait so many seconds for it, also where it is not there yet."),
    ] = None,
) -> None:
    """Ask the service on this machine whether it is ready; exit code 0 where it is.

    Reads the settings that the service was started with, to know where it listens.
    """
    # They load gRPC.
    from slidekin_server.cli._health import ask_health, wait_for_health  # noqa: PLC0415
    from slidekin_server.cli._own_service import OwnServiceError  # noqa: PLC0415

    try:
        if wait_s is None:
            said = ask_health(_settings(config), live=live, timeout_s=timeout_s)
        else:
            said = wait_for_health(_settings(config), live=live, wait_s=wait_s)
        typer.echo(said)
    except OwnServiceError as error:
        _fail(str(error))


app.command()(snapshot)
app.command()(restore)
app.command()(verify)
app.command()(import_sish)
app.add_typer(keys_app, name="keys")
app.add_typer(audit_app, name="audit")


def _settings(config: Path | None) -> Settings:
    try:
        return load_settings(config)
    except ConfigError as error:
        _fail(*error.problems, code=2)


def main() -> None:
    """Run the command line."""
    app(prog_name="slidekin-server")
