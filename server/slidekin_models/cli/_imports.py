"""``models import-...``: published weights become model directories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slidekin_models import models
from slidekin_models.cli._app import OutOption, app, plain_errors


@app.command()
def import_sish_vqvae(
    checkpoint: Annotated[Path, typer.Argument(help="The published model_9.pt.")],
    out: OutOption,
    semantic_order: Annotated[
        Path | None, typer.Option(help="The published codebook_semantic.pt.")
    ] = None,
) -> None:
    """Turn SISH's published checkpoint into a model directory."""
    with plain_errors():
        manifest = models.import_released_vqvae(checkpoint, out, semantic_order)
        typer.echo(f"{manifest.name} written to {out}")


@app.command()
def import_densenet121(
    checkpoint: Annotated[Path, typer.Argument(help="torchvision's densenet121-a639ec97.pth.")],
    out: OutOption,
) -> None:
    """Turn torchvision's DenseNet-121 into a model directory."""
    with plain_errors():
        manifest = models.import_densenet121(checkpoint, out)
        typer.echo(f"{manifest.name} written to {out}")
