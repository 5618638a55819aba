"""Command for administrators: ``audit hash``."""

from __future__ import annotations

from typing import Annotated

import typer

from slidekin_server.access.errors import AccessSetupError
from slidekin_server.access.pseudonyms import PATIENT, SLIDE, Pseudonyms
from slidekin_server.cli._keys import ConfigOption, access_folder, fail

app = typer.Typer(help="The audit log.", no_args_is_help=True)


@app.callback()
def about() -> None:
    """Work on the audit log."""


@app.command("hash")
def hash_(
    name: Annotated[str, typer.Argument(help="Patient, as slides name it; or a slide's id.")],
    *,
    slide: Annotated[bool, typer.Option("--slide", help="It is a slide's id.")] = False,
    config: ConfigOption = None,
) -> None:
    """Print what stands for a patient or a slide in the audit log: what to search it for."""
    try:
        pseudonyms = Pseudonyms.reading(access_folder(config))
    except AccessSetupError as error:
        fail(str(error))
    typer.echo(pseudonyms.hash(SLIDE if slide else PATIENT, name))
