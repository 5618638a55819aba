"""``models pull`` and ``models calibrate``: texture networks by name, and their threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from slidekin_models.cli._app import app, plain_errors


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="densenet121, or efficientnet-lite0.")],
    out: Annotated[
        Path | None, typer.Option(help="Directory to write; the network's name where not given.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Another address of the same file: your site's mirror.")
    ] = None,
) -> None:
    """Write a texture network with its published weights: densenet121 is downloaded.

    A download that was cut off goes on where it ended. Proxies are taken from HTTPS_PROXY.
    """
    # Triton's environment, where bundles may be built too, has no client for HTTP.
    from slidekin_models import pull as pulling  # noqa: PLC0415

    directory = out or Path(name)
    with plain_errors(), _shown(name) as tell:
        manifest = pulling.pull(name, directory, url=url, progress=tell)
    typer.echo(f"written      {directory} ({manifest.name}, licence: {manifest.licence})")
    typer.echo(f"source       {manifest.source}")
    typer.echo(
        f"texture      {manifest.texture_bits} bits, theta {manifest.hamming_threshold_bits}: "
        f"{manifest.threshold_note}"
    )


@contextmanager
def _shown(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar that appears with the first byte."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
    )
    with Progress(*columns, transient=True, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None, visible=False)

        def tell(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield tell
