"""``models gate`` and ``models export``: judge runtimes, and write files for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from slidekin_models.cli._app import OutOption, app, named_mpp, plain_errors
from slidekin_models.runtimes.placement import RUNTIMES, Placement

REFUSED = 1
"""Exit status if a runtime was refused."""


@app.command()
def gate(
    model: Annotated[Path, typer.Argument(help="Model directory, or bundle.")],
    slides: Annotated[
        list[Path], typer.Option(help="Slides, or folders of slides or image tiles; repeatable.")
    ],
    *,
    runtime: Annotated[str, typer.Option(help=f"One of {', '.join(RUNTIMES)}.")] = "openvino",
    precision: Annotated[
        list[str] | None,
        typer.Option(help="fp32, bf16 or fp16; repeatable. [default: all of the runtime]"),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda:N.")] = "cpu",
    patches: Annotated[int, typer.Option(help="Number of patches to compare.", min=1)] = 32,
    slide_mpp: Annotated[
        list[str] | None,
        typer.Option(help="NAME=MPP: resolution of a slide that does not state it; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed for the choice of patches.", min=0)] = 0,
) -> None:
    """Compare a runtime with torch in fp32 on real tissue; write the result to the manifest.

    Only accepted runtimes are served. The exit status is 1 if one was refused.
    """
    # Slides are read by an extra that Triton's environment does not have.
    from slidekin_models.runtimes import gate as gates  # noqa: PLC0415
    from slidekin_models.sampling import SampleSettings, TissueSampler  # noqa: PLC0415

    with plain_errors():
        placements = [
            Placement(device=device, runtime=runtime, precision=chosen)
            for chosen in precision or RUNTIMES.get(runtime, ("fp32",))
        ]
        directories = gates.model_directories(model)
        settings = SampleSettings(
            seed=seed, slide_mpp=named_mpp("--slide-mpp", slide_mpp or []), tile_mpp=None
        )
        sampler = TissueSampler(slides, settings)
        for reason in sampler.skipped:
            typer.echo(f"skipped      {reason}", err=True)
        tissue = gates.Tissue(tuple(sampler.patches(patches)), sampler.sources)
        judgements = [
            judgement
            for directory in directories
            for judgement in gates.judge(directory, placements, tissue, _tell)
        ]
    for judgement in judgements:
        verdict = judgement.verdict
        typer.echo(
            f"{judgement.directory.name:<12} {verdict.runtime} {verdict.precision}: "
            f"{'accepted' if verdict.accepted else 'REFUSED'}"
        )
        for name, value in verdict.figures.model_dump().items():
            typer.echo(f"             {name} {value:g}")
        for fault in judgement.faults:
            typer.echo(f"             refused: {fault}")
    if any(judgement.faults for judgement in judgements):
        raise typer.Exit(REFUSED)


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="Model directory, or bundle.")],
    out: OutOption,
    *,
    file_format: Annotated[
        Literal["onnx"], typer.Option("--format", help="Format of the files.")
    ] = "onnx",
) -> None:
    """Write networks as files for other runtimes, and compare the files with torch.

    Each network becomes two files: a trunk, and the judgement after it, which needs fp32.
    """
    from slidekin_models.runtimes import gate as gates  # noqa: PLC0415 (as above)
    from slidekin_models.runtimes.export import export_onnx  # noqa: PLC0415 (needs onnx)

    with plain_errors():
        for directory in gates.model_directories(model):
            done = export_onnx(directory, out / directory.name)
            typer.echo(
                f"{directory.name:<12} {file_format}: {done.trunk}, {done.judgement} "
                f"({done.equal:.2%} equal to torch)"
            )


def _tell(line: str) -> None:
    typer.echo(line, err=True)
