"""What every command shares: options, errors, the two consoles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from slidekin._exceptions import SlidekinError
from slidekin._names import collection_name, slide_name

FAILED = 1
"""Exit code of a command that could not do its work. 2 stands for wrong usage."""
INTERRUPTED = 130


class CommandError(Exception):
    """Ends a command: what went wrong and the cure, in a line or two."""


class ErrorGroup(TyperGroup):
    """Commands whose errors are a line or two for people, and an exit code for programs."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer keeps the type to itself
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except (SlidekinError, CommandError) as error:
            fail(str(error))
        except BrokenPipeError:
            # The reader of our output has seen enough.
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            err_console().print("interrupted", style="yellow")
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:
            if error.filename is None:
                raise
            fail(f"{error.filename}: {error.strerror or error}")


def fail(message: str) -> NoReturn:
    """Says what went wrong and ends the command."""
    err_console().print(f"[bold red]error:[/] {_plain(message)}", soft_wrap=True)
    raise typer.Exit(FAILED)


def warn(message: str) -> None:
    """Says what the user should know."""
    err_console().print(f"[bold yellow]warning:[/] {_plain(message)}", soft_wrap=True)


def out_console() -> Console:
    """Answers. Made anew: standard output may have been redirected since the last."""
    return Console(highlight=False)


def err_console() -> Console:
    """Progress, warnings, errors."""
    return Console(stderr=True, highlight=False)


RANDOM_WEIGHTS = (
    "the networks' weights are random: answers show that the system works and say nothing of tissue"
)


def say_random_weights() -> None:
    """Says beside an answer, where the answer goes, that it means nothing yet."""
    out_console().print(f"[bold yellow]random weights:[/] {RANDOM_WEIGHTS}", soft_wrap=True)


def escape(text: str) -> str:
    """Text that is not ours, safe to print: no markup, no control characters."""
    return _plain(text)


def _plain(text: str) -> str:
    from rich.markup import escape as escape_markup  # noqa: PLC0415

    printable = "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
    return escape_markup(printable)


def _checked(check: Callable[[str], str]) -> Callable[[str | None], str | None]:
    def callback(value: str | None) -> str | None:
        if value is None:
            return None
        try:
            return check(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return callback


def _collection_id(text: str) -> str:
    return collection_name(text).rpartition("/")[2]


def _checked_slide(text: str) -> str:
    slide_name(text, "any")
    return text


ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="SLIDEKIN_SERVER",
        metavar="HOST:PORT",
        help="The service. Default: the one `slidekin up` started, else 127.0.0.1:50051.",
    ),
]
CollectionOption = Annotated[
    str,
    typer.Option("--collection", "-c", callback=_checked(_collection_id), help="The collection."),
]
CollectionArgument = Annotated[
    str, typer.Argument(callback=_checked(_collection_id), help="The collection.")
]
SlideArgument = Annotated[
    str, typer.Argument(callback=_checked(_checked_slide), metavar="SLIDE", help="The slide's id.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
