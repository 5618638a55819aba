"""``models import``: makes a model directory from a file of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from slidekin_models.cli._app import app, plain_errors
from slidekin_models.errors import ManifestError
from slidekin_models.networks.pixels import IMAGENET_MEAN, IMAGENET_STD, PixelRule
from slidekin_models.weights import imports
from slidekin_models.weights.imports import ForeignFacts, Kind
from slidekin_models.weights.manifest import FOREIGN_FILES, NetworkManifest, TextureManifest

_OWN = "TorchScript and ONNX"
_IMAGENET = "ImageNet's where not given"


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="The file, as published.")],
    out: Annotated[
        Path | None, typer.Option(help="Directory to write. [default: the network's name]")
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option("--as", help="Kind of the file, if it is not recognised.")
    ] = None,
    semantic_order: Annotated[
        Path | None, typer.Option(help="sish-vqvae: the published codebook_semantic.pt.")
    ] = None,
    *,
    allow_code: Annotated[
        bool,
        typer.Option(
            "--allow-code",
            help="torchscript: the file is a program, and I trust its publisher with this machine.",
        ),
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the network.", rich_help_panel=_OWN)
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence of the weights.", rich_help_panel=_OWN)
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Where the file comes from.", rich_help_panel=_OWN)
    ] = None,
    side: Annotated[
        int, typer.Option(help="Edge of the network's input, in pixels.", rich_help_panel=_OWN)
    ] = 224,
    resize: Annotated[
        str,
        typer.Option(
            help="tiles: cut the patch and average; whole: shrink it.", rich_help_panel=_OWN
        ),
    ] = "tiles",
    mean: Annotated[
        str | None, typer.Option(help=f"R,G,B of 0 to 1; {_IMAGENET}.", rich_help_panel=_OWN)
    ] = None,
    std: Annotated[
        str | None, typer.Option(help=f"R,G,B of 0 to 1; {_IMAGENET}.", rich_help_panel=_OWN)
    ] = None,
) -> None:
    """Recognise a file of weights and write a model directory.

    It accepts torchvision's densenet121-a639ec97.pth, SISH's model_9.pt, and your own texture
    networks as TorchScript or ONNX.
    """
    with plain_errors():
        recognised = kind or imports.recognise(file)
        if recognised not in FOREIGN_FILES:
            directory = out or Path(recognised)
            known = imports.import_known(file, recognised, directory, semantic_order)
            _print(known, recognised, directory)
            return
        if recognised is Kind.TORCHSCRIPT and not allow_code:
            msg = (
                f"{file}: TorchScript is a program, which runs on this machine and wherever the "
                "model is served: give --allow-code if you trust its publisher"
            )
            raise ManifestError(msg)
        if licence is None:
            msg = f"{file}: --licence: say under which licence the weights came"
            raise ManifestError(msg)
        facts = ForeignFacts(
            name=name or file.stem,
            licence=licence,
            source=source or file.name,
            pixels=_pixel_rule(side, resize, mean, std),
        )
        directory = out or Path(facts.name)
        own = imports.import_foreign(file, recognised, directory, facts)
        _print(own, recognised, directory)


def _pixel_rule(side: int, resize: str, mean: str | None, std: str | None) -> PixelRule:
    try:
        return PixelRule.model_validate(
            {
                "side_px": side,
                "resize": resize,
                "mean": mean.split(",") if mean else list(IMAGENET_MEAN),
                "std": std.split(",") if std else list(IMAGENET_STD),
            }
        )
    except ValidationError as error:
        fault = error.errors()[0]
        option = str(fault["loc"][0]).removesuffix("_px")
        msg = f"--{option}: {fault['msg']}"
        raise ManifestError(msg) from error


def _print(manifest: NetworkManifest, kind: Kind, out: Path) -> None:
    typer.echo(f"recognised   {kind}")
    typer.echo(f"written      {out} ({manifest.name}, licence: {manifest.licence})")
    if isinstance(manifest, TextureManifest):
        typer.echo(f"input        {manifest.preprocessing}")
        typer.echo(
            f"texture      {manifest.texture_bits} bits, theta {manifest.hamming_threshold_bits}: "
            f"{manifest.threshold_note}"
        )
