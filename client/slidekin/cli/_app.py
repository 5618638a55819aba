"""The command ``slidekin`` put together."""

from __future__ import annotations

import typer

from slidekin.cli import (
    _collections,
    _connection,
    _evaluate,
    _ingest,
    _reindex,
    _search,
    _slides,
    _stack_commands,
)
from slidekin.cli._common import ErrorGroup

app = typer.Typer(
    name="slidekin",
    help="Find the slides of an archive that look alike.",
    cls=ErrorGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.callback()(_connection.options)
app.command("up")(_stack_commands.up)
app.command("down")(_stack_commands.down)
app.command("status")(_stack_commands.status)
app.command("ingest")(_ingest.ingest)
app.command("reindex")(_reindex.reindex)
app.command("search")(_search.search)
app.command("evaluate")(_evaluate.evaluate)
app.command("evaluate-tiles")(_evaluate.evaluate_tiles)
app.add_typer(_slides.app, name="slides")
app.add_typer(_collections.app, name="collections")


def main() -> None:
    """Entry point of the command."""
    app()
