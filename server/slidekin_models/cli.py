"""``python -m slidekin_models``: import weights, build and check bundles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from slidekin_models import models
from slidekin_models.bundle import Bundle, build_bundle, verify_bundle
from slidekin_models.errors import ModelError

app = typer.Typer(
    help="Networks of slidekin: import weights, build and check the bundle that Triton serves.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

OutOption = Annotated[Path, typer.Option(help="Directory to write.")]


@app.command()
def build(
    config: Annotated[Path, typer.Option(help="YAML file that chooses the networks.")],
    out: OutOption,
    *,
    replace: Annotated[bool, typer.Option(help="Replace a bundle of another pair.")] = False,
) -> None:
    """Build the bundle that a configuration chooses."""
    with _plain_errors():
        _print(build_bundle(config, out, replace=replace), out)


@app.command()
def verify(bundle: Annotated[Path, typer.Argument(help="Directory of the bundle.")]) -> None:
    """Check a bundle's weights against its manifests."""
    with _plain_errors():
        _print(verify_bundle(bundle), bundle)


@app.command()
def import_sish_vqvae(
    checkpoint: Annotated[Path, typer.Argument(help="The published model_9.pt.")],
    out: OutOption,
    semantic_order: Annotated[
        Path | None, typer.Option(help="The published codebook_semantic.pt.")
    ] = None,
) -> None:
    """Turn SISH's published checkpoint into a model directory."""
    with _plain_errors():
        manifest = models.import_released_vqvae(checkpoint, out, semantic_order)
        typer.echo(f"{manifest.name} written to {out}")


@app.command()
def import_densenet121(
    checkpoint: Annotated[Path, typer.Argument(help="torchvision's densenet121-a639ec97.pth.")],
    out: OutOption,
) -> None:
    """Turn torchvision's DenseNet-121 into a model directory."""
    with _plain_errors():
        manifest = models.import_densenet121(checkpoint, out)
        typer.echo(f"{manifest.name} written to {out}")


def _print(bundle: Bundle, directory: Path) -> None:
    typer.echo(f"bundle       {directory}")
    typer.echo(f"fingerprint  {bundle.fingerprint[:16]}")
    for role, entry in (("vqvae", bundle.networks.vqvae), ("texture", bundle.networks.texture)):
        note = "  RANDOM WEIGHTS, results mean nothing" if entry.random_weights else ""
        typer.echo(f"{role:<12} {entry.name} ({entry.licence}){note}")
    typer.echo(f"texture      {bundle.texture_bits} bits, theta {bundle.hamming_threshold_bits}")


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(code=2) from error
