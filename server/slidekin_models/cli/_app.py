"""The application that the commands register with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from slidekin_models.errors import ModelError, SamplingError

app = typer.Typer(
    help="Networks of slidekin: import weights, build and check the bundle that Triton serves.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

OutOption = Annotated[Path, typer.Option(help="Directory to write.")]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Print errors without a stack trace, and exit with status 2."""
    try:
        yield
    except ModelError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(code=2) from error


def named_mpp(option: str, pairs: list[str]) -> dict[str, float]:
    """Return micrometres per pixel by file name, from NAME=MPP.

    Raises:
        SamplingError: A pair does not have this form.
    """
    named = {}
    for pair in pairs:
        name, _, mpp = pair.rpartition("=")
        try:
            named[name] = float(mpp)
        except ValueError:
            name = ""
        if not name:
            msg = f"{option}: {pair!r} is not NAME=MPP, such as scan.svs=0.25"
            raise SamplingError(msg)
    return named
