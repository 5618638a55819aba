"""``models list``, ``models verify`` and ``models activate``."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated

import typer

from slidekin_models.bundles.bundle import BUNDLE_NAME, Bundle, verify_bundle
from slidekin_models.bundles.registry import StoredModel, activate, list_models
from slidekin_models.cli._app import app, plain_errors
from slidekin_models.cli._bundles import print_bundle
from slidekin_models.errors import ModelError

StoreArgument = Annotated[Path, typer.Argument(help="Model store: a folder of bundles.")]
_TRITON_TIMEOUT_S = 5.0


@app.command("list")
def list_(
    store: StoreArgument,
    *,
    triton: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Triton's HTTP address: show which bundles it serves."),
    ] = None,
) -> None:
    """Show the bundles of a store, and which one new collections use."""
    with plain_errors():
        models = list_models(store)
        rows: list[tuple[str, ...]] = [
            ("", "name", "fingerprint", "vqvae", "texture", "alike up to", "served")
        ]
        for model in models:
            bundle = model.bundle
            rows.append(
                (
                    "*" if model.active else "",
                    model.name,
                    bundle.fingerprint[:12],
                    *_networks(bundle),
                    f"{bundle.hamming_threshold_bits} of {bundle.texture_bits} bits",
                    "" if triton is None else _served(triton, bundle),
                )
            )
    if triton is None:
        rows = [row[:-1] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())
    if not any(model.active for model in models):
        typer.echo(f"none is active: 'slidekin-server models activate {store} NAME'", err=True)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A bundle, or a model store with all its bundles.")],
) -> None:
    """Check the weights of a bundle, or of all bundles in a store, against their manifests."""
    with plain_errors():
        if (path / BUNDLE_NAME).exists():
            print_bundle(verify_bundle(path), path)
            return
        models = list_models(path)
    failed = [model for model in models if not _verified(model)]
    if failed:
        raise typer.Exit(code=2)


@app.command("activate")
def activate_(
    store: StoreArgument,
    name: Annotated[
        str, typer.Argument(help="Name of its folder, or beginning of its fingerprint.")
    ],
) -> None:
    """Make new collections use a bundle; takes effect at once in a running service."""
    with plain_errors():
        model = activate(store, name)
        typer.echo(f"active: {model.name} ({model.bundle.fingerprint[:12]})")
        if model.bundle.random_weights:
            typer.echo("its weights are random: what it finds says nothing of tissue", err=True)


def _verified(model: StoredModel) -> bool:
    try:
        verify_bundle(model.directory)
    except ModelError as error:
        typer.echo(f"{model.name}: {error}", err=True)
        return False
    typer.echo(f"{model.name}: sound ({model.bundle.fingerprint[:12]})")
    return True


def _networks(bundle: Bundle) -> tuple[str, str]:
    networks = bundle.networks
    return (
        networks.vqvae.name + (" (random)" if networks.vqvae.random_weights else ""),
        networks.texture.name + (" (random)" if networks.texture.random_weights else ""),
    )


def _served(triton: str, bundle: Bundle) -> str:
    name = f"{bundle.triton.encoder_model}-{bundle.fingerprint[:12]}"
    url = f"{triton.rstrip('/')}/v2/models/{name}/ready"
    try:
        # The operator gave this address, and may open any.
        with urllib.request.urlopen(url, timeout=_TRITON_TIMEOUT_S) as answer:  # noqa: S310
            return "yes" if answer.status == 200 else "no"
    except urllib.error.HTTPError:
        return "no"
    except (OSError, ValueError) as error:
        raise ModelError(f"--triton {triton}: cannot be asked ({error})") from None
