"""``models build``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slidekin_models.bundles.bundle import Bundle, build_bundle
from slidekin_models.cli._app import OutOption, app, plain_errors


@app.command()
def build(
    config: Annotated[Path, typer.Option(help="YAML file that chooses the networks.")],
    out: OutOption,
    *,
    replace: Annotated[bool, typer.Option(help="Replace a bundle of other networks.")] = False,
) -> None:
    """Build the bundle that a configuration chooses."""
    with plain_errors():
        print_bundle(build_bundle(config, out, replace=replace), out)


def print_bundle(bundle: Bundle, directory: Path) -> None:
    """Print the content of a bundle."""
    typer.echo(f"bundle       {directory}")
    typer.echo(f"fingerprint  {bundle.fingerprint[:16]}")
    for role, entry in (("vqvae", bundle.networks.vqvae), ("texture", bundle.networks.texture)):
        note = "  RANDOM WEIGHTS, results mean nothing" if entry.random_weights else ""
        typer.echo(f"{role:<12} {entry.name} ({entry.licence}){note}")
    typer.echo(f"texture      {bundle.texture_bits} bits, theta {bundle.hamming_threshold_bits}")
