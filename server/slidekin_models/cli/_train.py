"""``models train``: a VQ-VAE from a folder of slides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from slidekin_models.cli._app import app, named_mpp, plain_errors
from slidekin_models.errors import TrainingError

_RATE = 4e-4
_PUBLISHED_RATE = 1e-3
_CODEBOOK = "Keeping the codebook alive"
_DATA = "Data"
_RESULT = "Result"
_MACHINE = "Machine"


@app.command()
def train(
    slides: Annotated[
        list[Path], typer.Option(help="Slides or tiles: a file or a folder; may be repeated.")
    ],
    out: Annotated[Path, typer.Option(help="Model directory; an unfinished run there is resumed.")],
    *,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the whole run.")] = 4000,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Stop after this time; the same command resumes the run."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Patches per step and process.")] = 8,
    side: Annotated[int, typer.Option(help="Edge of a patch in pixels, a multiple of 16.")] = 128,
    learning_rate: Annotated[
        float | None,
        typer.Option(min=1e-7, help="Of Adam. [default: 0.0004; with --published-loss 0.001]"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed for everything that is random.")] = 0,
    mpp: Annotated[
        float, typer.Option(help="Micrometres per pixel of a patch.", rich_help_panel=_DATA)
    ] = 0.5,
    slide_mpp: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=MPP: resolution of a slide that does not state it; may be repeated.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    tile_mpp: Annotated[
        float, typer.Option(help="Micrometres per pixel of the tiles.", rich_help_panel=_DATA)
    ] = 0.5,
    held_out: Annotated[
        float,
        typer.Option(
            min=0, max=0.9, help="Share of the tissue held out for checks.", rich_help_panel=_DATA
        ),
    ] = 0.1,
    hold_out_by: Annotated[
        Literal["region", "slide"],
        typer.Option(help="Hold out a part of each slide, or whole slides.", rich_help_panel=_DATA),
    ] = "region",
    augment: Annotated[
        bool, typer.Option(help="Vary by flips, turns and stain strength.", rich_help_panel=_DATA)
    ] = True,
    stain_jitter: Annotated[
        float,
        typer.Option(
            min=0, max=0.5, help="Largest change of a stain's strength.", rich_help_panel=_DATA
        ),
    ] = 0.15,
    data_init: Annotated[
        bool, typer.Option(help="Initialise codewords from data.", rich_help_panel=_CODEBOOK)
    ] = True,
    ema: Annotated[
        bool, typer.Option(help="Update codewords by running means.", rich_help_panel=_CODEBOOK)
    ] = True,
    restart: Annotated[
        bool, typer.Option(help="Restart dead codewords.", rich_help_panel=_CODEBOOK)
    ] = True,
    published_loss: Annotated[
        bool,
        typer.Option(
            "--published-loss",
            help="Switch off these three, and keep the learning rate constant.",
            rich_help_panel=_CODEBOOK,
        ),
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model. [default: OUT's]", rich_help_panel=_RESULT),
    ] = None,
    licence: Annotated[
        str, typer.Option(help="Licence of the weights.", rich_help_panel=_RESULT)
    ] = "not stated",
    order: Annotated[
        Literal["principal", "path"],
        typer.Option(help="Semantic order of the codes.", rich_help_panel=_RESULT),
    ] = "principal",
    store: Annotated[
        Literal["full", "compact"],
        typer.Option(
            help="compact: only encoder and codebook, in half precision (9 MB).",
            rich_help_panel=_RESULT,
        ),
    ] = "full",
    precision: Annotated[
        Literal["bf16", "fp32"],
        typer.Option(help="Precision of convolutions.", rich_help_panel=_MACHINE),
    ] = "bf16",
    checkpoint_every: Annotated[
        int, typer.Option(min=1, help="Steps between checkpoints.", rich_help_panel=_MACHINE)
    ] = 200,
    threads: Annotated[
        int, typer.Option(min=0, help="CPU threads; 0: torch's choice.", rich_help_panel=_MACHINE)
    ] = 0,
    cpu: Annotated[
        bool,
        typer.Option("--cpu", help="Use the CPU even if there is a GPU.", rich_help_panel=_MACHINE),
    ] = False,
) -> None:
    """Train a VQ-VAE on a folder of slides, without labels.

    Several GPUs: accelerate launch -m slidekin_server models train ...
    """
    with plain_errors():
        # Import here: the other commands need neither slides nor training.
        try:
            from slidekin_models.training.export import Stored  # noqa: PLC0415
            from slidekin_models.training.run import Limits  # noqa: PLC0415
            from slidekin_models.training.session import train as run  # noqa: PLC0415
            from slidekin_models.training.settings import TrainSettings  # noqa: PLC0415
        except ImportError as error:
            msg = f"training needs a package that is not here ({error}): install slidekin[train]"
            raise TrainingError(msg) from error

        alive = not published_loss
        settings = TrainSettings(
            slides=tuple(path.resolve() for path in slides),
            side_px=side,
            mpp=mpp,
            slide_mpp=named_mpp("--slide-mpp", slide_mpp or []),
            tile_mpp=tile_mpp,
            held_out_share=held_out,
            hold_out_by=hold_out_by,
            steps=steps,
            batch=batch,
            learning_rate=learning_rate or (_PUBLISHED_RATE if published_loss else _RATE),
            seed=seed,
            precision=precision,
            data_init=data_init and alive,
            ema=ema and alive,
            restart=restart and alive,
            augment=augment,
            stain_jitter=stain_jitter,
        )
        outcome = run(
            settings,
            out,
            name=name or out.resolve().name,
            licence=licence,
            stored=Stored(store, order),
            limits=Limits(minutes=minutes, checkpoint_every=checkpoint_every),
            cpu=cpu,
            threads=threads,
        )
        if outcome.manifest is None:
            return
        if not outcome.finished:
            typer.echo(f"stopped at step {outcome.step} of {steps}: the same command goes on")
        typer.echo(f"written      {out} ({outcome.manifest.name})")
        typer.echo(f"weights      sha256 {outcome.manifest.weights_sha256[:16]}")
        if outcome.held_out is not None:
            typer.echo(
                f"held out     perplexity {outcome.held_out.perplexity:.1f} of 128, "
                f"{outcome.held_out.used} codes used, "
                f"reconstruction error {outcome.held_out.recon_loss:.4f}"
            )
        typer.echo(f"serve it     vqvae: {{manifest: {out / 'manifest.yaml'}}} in models.yaml")
