"""``models pull`` and ``models calibrate``: texture networks by name, and their threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from slidekin_models.calibration.threshold import MIN_PATCHES, Rule
from slidekin_models.cli._app import app, named_mpp, plain_errors
from slidekin_models.errors import ModelError


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="densenet121, or efficientnet-lite0.")],
    out: Annotated[
        Path | None, typer.Option(help="Directory to write. [default: the network's name]")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Another address of the same file: your site's mirror.")
    ] = None,
) -> None:
    """Write a texture network with its published weights: densenet121 is downloaded.

    An interrupted download is resumed. Proxies are taken from HTTPS_PROXY.
    """
    directory = out or Path(name)
    with plain_errors(), _shown(name) as tell:
        # Triton's environment, where bundles can also be built, has no HTTP client.
        with _needing("models"):
            from slidekin_models.weights import pull as pulling  # noqa: PLC0415

        manifest = pulling.pull(name, directory, url=url, progress=tell)
    typer.echo(f"written      {directory} ({manifest.name}, licence: {manifest.licence})")
    typer.echo(f"source       {manifest.source}")
    typer.echo(
        f"texture      {manifest.texture_bits} bits, theta {manifest.hamming_threshold_bits}: "
        f"{manifest.threshold_note}"
    )


@app.command()
def calibrate(
    model: Annotated[Path, typer.Argument(help="Model directory of a texture network.")],
    tissue: Annotated[Path, typer.Option(help="Folder of slides or image tiles.")],
    *,
    rule: Annotated[
        Rule, typer.Option(help="share: admit --share of the nearest neighbours; or separation.")
    ] = "share",
    share: Annotated[
        float, typer.Option(help="Share of nearest neighbours, for --rule share.")
    ] = 0.9,
    patches: Annotated[int, typer.Option(help="Most patches to draw.", min=MIN_PATCHES)] = 400,
    patients: Annotated[
        Path | None,
        typer.Option(help="CSV file with the columns slide and patient, as for ingest."),
    ] = None,
    slide_mpp: Annotated[
        list[str] | None,
        typer.Option(help="NAME=MPP: resolution of a slide that does not state it; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed for the choice of patches.", min=0)] = 0,
) -> None:
    """Set a texture network's Hamming threshold from a sample of tissue.

    It measures the distances between nearest neighbours and between all pairs, never within one
    slide or patient. It writes manifest, card and curves to the model directory. Codes and
    fingerprint do not change.
    """
    with plain_errors(), _counted("patches") as tell:
        # Slides are read by an extra that Triton's environment does not have.
        with _needing("models,slides"):
            from slidekin_models.calibration.run import calibrate_texture  # noqa: PLC0415

        manifest = calibrate_texture(
            model,
            tissue,
            rule=rule,
            share=share,
            patches=patches,
            patients=patients,
            slide_mpp=named_mpp("--slide-mpp", slide_mpp or []),
            seed=seed,
            tell=tell,
            say=lambda line: typer.echo(line, err=True),
        )
    typer.echo(f"threshold    {manifest.hamming_threshold_bits} of {manifest.texture_bits} bits")
    typer.echo(f"because      {manifest.threshold_note}")
    typer.echo(f"written      {model}: manifest.yaml, CARD.md, calibration.png, calibration.json")


@contextmanager
def _needing(extras: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        msg = f"needs a package that is not here ({error}): install slidekin[{extras}]"
        raise ModelError(msg) from error


@contextmanager
def _counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with the remaining time."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None, visible=False)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield tell


@contextmanager
def _shown(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar that appears with the first byte."""
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
