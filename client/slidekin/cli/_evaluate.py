"""``slidekin evaluate`` and ``slidekin evaluate-tiles``: how well like finds like."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from slidekin._types import RankingMethod, SearchOptions
from slidekin.cli._common import (
    CollectionArgument,
    ServerOption,
    err_console,
    escape,
    out_console,
    say_random_weights,
    warn,
)
from slidekin.cli._connection import connect
from slidekin.cli._finding import find_slides
from slidekin.cli._labels import read_labels

if TYPE_CHECKING:
    from slidekin.evaluation import Estimate, Evaluation, EvaluationSettings, ExamplePictures

Profile = Literal["default", "sish-2022"]


class Mode(enum.StrEnum):
    """A mode that can be evaluated."""

    GUIDED = "guided"
    EXACT = "exact"
    HYBRID = "hybrid"


_STAGES = {"encode": "encoding tiles", "histogram": "reading colours"}

KOption = Annotated[
    list[int] | None,
    typer.Option("-k", min=1, help="Length of the lists judged; may be repeated. Default: 1 3 5."),
]
ModeOption = Annotated[
    list[Mode] | None,
    typer.Option("--mode", help="Mode to evaluate; may be repeated. Default: all three."),
]
ProfileOption = Annotated[Profile, typer.Option(help="How the index is searched.")]
RankingOption = Annotated[RankingMethod, typer.Option(help="How slides are ranked.")]
ThresholdOption = Annotated[
    int | None,
    typer.Option(min=0, metavar="BITS", help="Greatest distance of a hit, not the collection's."),
]
JobsOption = Annotated[int, typer.Option(min=1, max=64, help="Queries under way at the same time.")]
ResamplesOption = Annotated[int, typer.Option(min=1, help="Resamples behind an interval.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the resampling.")]
ExamplesOption = Annotated[
    int, typer.Option(min=0, help="Good and bad examples of each method in the report.")
]
JsonFileOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.")
]
HtmlFileOption = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write a report, one self-contained page."),
]


def evaluate(
    collection: CollectionArgument,
    *,
    slides: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            help="Where the slides' files are, for the baseline and pictures; may be repeated.",
        ),
    ] = None,
    k: KOption = None,
    mode: ModeOption = None,
    profile: ProfileOption = "default",
    ranking: RankingOption = "auto",
    threshold: ThresholdOption = None,
    jobs: JobsOption = 4,
    resamples: ResamplesOption = 2000,
    seed: SeedOption = 0,
    examples: ExamplesOption = 3,
    json_file: JsonFileOption = None,
    html_file: HtmlFileOption = None,
    server: ServerOption = None,
) -> None:
    """Measure how well a collection is searched: every slide asks, its patient left out.

    Prints majority vote (mMV) and mean average precision (mAP) of the first k slides with 95 %
    intervals for each mode, beside a baseline of colour histograms where --slides names the files.
    """
    from slidekin import evaluation as ev  # noqa: PLC0415 - loads the readers of slides

    _check_files(json_file, html_file)
    settings = _settings(
        k=k,
        mode=mode,
        profile=profile,
        ranking=ranking,
        threshold=threshold,
        jobs=jobs,
        resamples=resamples,
        seed=seed,
        examples=examples,
    )
    paths = None
    if slides is not None:
        paths = {found.slide_id: found.path for found in find_slides(slides)}
    with connect(server) as client:
        with _progress() as show:
            result = ev.evaluate(client, collection, settings, slide_files=paths, progress=show)
        pictures = None
        if html_file is not None:
            source: ev.PictureSource = ev.KeptPictures(client)
            if paths is not None:
                source = ev.FilePictures(client, result.collection, paths)
            pictures = ev.fetch_example_pictures(result, source)
    _finish(result, pictures, json_file, html_file)


def evaluate_tiles(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of square tiles; folders below count.")
    ],
    *,
    pattern: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Finds the label in a tile's path: group 'label', perhaps group 'patient'.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV (UTF-8) with the columns slide (the tile), patient, label."),
    ] = None,
    k: KOption = None,
    mode: ModeOption = None,
    profile: ProfileOption = "default",
    ranking: RankingOption = "auto",
    threshold: ThresholdOption = None,
    jobs: JobsOption = 4,
    resamples: ResamplesOption = 2000,
    seed: SeedOption = 0,
    examples: ExamplesOption = 3,
    json_file: JsonFileOption = None,
    html_file: HtmlFileOption = None,
    server: ServerOption = None,
) -> None:
    """Measure the service's networks on labelled tiles, each scaled to 1024 px.

    The label is found by --pattern, in --labels, or is the name of the folder that holds the tile.
    Tiles go into a collection of their own, which is deleted at the end.
    """
    from slidekin import evaluation as ev  # noqa: PLC0415 - loads the readers of slides

    if pattern is not None and labels is not None:
        raise typer.BadParameter("give either --pattern or --labels", param_hint="--labels")
    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is not a folder", param_hint="DIR")
    _check_files(json_file, html_file)
    settings = _settings(
        k=k,
        mode=mode,
        profile=profile,
        ranking=ranking,
        threshold=threshold,
        jobs=jobs,
        resamples=resamples,
        seed=seed,
        examples=examples,
    )
    table = None
    if labels is not None:
        rows = read_labels(labels)
        table = {name: ev.TileFacts(row.label, row.patient_id) for name, row in rows.items()}
    tiles, without = ev.find_tiles(folder, pattern=pattern, table=table)
    if without:
        shown = ", ".join(path.name for path in without[:3]) + (", ..." if without[3:] else "")
        warn(f"{len(without)} of {len(without) + len(tiles)} pictures have no label ({shown})")
    title = f"{len(tiles)} tiles of {folder.resolve().name}"
    with connect(server) as client, _progress() as show:
        result = ev.evaluate_tiles(client, tiles, settings, title=title, progress=show)
    pictures = None
    if html_file is not None:
        pictures = ev.fetch_example_pictures(result, ev.TilePictures(tiles))
    _finish(result, pictures, json_file, html_file)


def _settings(
    *,
    k: list[int] | None,
    mode: list[Mode] | None,
    profile: Profile,
    ranking: RankingMethod,
    threshold: int | None,
    jobs: int,
    resamples: int,
    seed: int,
    examples: int,
) -> EvaluationSettings:
    from slidekin.evaluation import EvaluationSettings  # noqa: PLC0415

    defaults = EvaluationSettings()
    return EvaluationSettings(
        ks=tuple(k) if k else defaults.ks,
        modes=tuple(name for name in defaults.modes if mode is None or name in mode),
        options=SearchOptions(profile=profile, ranking=ranking, hamming_threshold_bits=threshold),
        jobs=jobs,
        resamples=resamples,
        seed=seed,
        examples=examples,
    )


def _check_files(*files: Path | None) -> None:
    """Says before minutes are spent that a file cannot be written."""
    for file in files:
        if file is not None and not file.absolute().parent.is_dir():
            raise typer.BadParameter(
                f"{file.absolute().parent} is not a folder", param_hint=str(file)
            )


@contextmanager
def _progress() -> Iterator[Show]:
    show = Show(
        Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=err_console(),
            transient=True,
        )
    )
    try:
        yield show
    finally:
        show.stop()


class Show:
    """A bar for each stage; nothing before the first one begins."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Moves the stage's bar."""
        if not self._tasks:
            self._progress.start()
        task = self._tasks.get(stage)
        if task is None:
            description = _STAGES.get(stage, f"asking, {stage}")
            task = self._tasks[stage] = self._progress.add_task(description, total=total)
        self._progress.update(task, completed=done, total=total)

    def stop(self) -> None:
        """Takes the bars away."""
        if self._tasks:
            self._progress.stop()


def _finish(
    result: Evaluation,
    pictures: ExamplePictures | None,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    from slidekin.evaluation import render_html, to_json  # noqa: PLC0415

    if json_file is not None:
        text = json.dumps(to_json(result), indent=1, ensure_ascii=False)
        json_file.write_text(text + "\n", encoding="utf-8")
    if html_file is not None:
        html_file.write_text(render_html(result, pictures), encoding="utf-8")
    console = out_console()
    if result.random_weights:
        say_random_weights()
    console.print(_table(result))
    for note in result.notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)
    for file in (json_file, html_file):
        if file is not None:
            console.print(f"written: {escape(str(file))}", style="dim", soft_wrap=True)


def _table(result: Evaluation) -> Table:
    queries = sum(result.labels.values())
    table = Table(
        title=f"{escape(result.title)}: {queries} queries, {len(result.labels)} labels, "
        f"{result.patients} patients; means over labels, 95 % intervals",
        title_justify="left",
    )
    table.add_column("method")
    ks = result.settings.ks
    for name in ("mMV", "mAP"):
        for k in ks:
            table.add_column(f"{name}@{k}", justify="right")
    table.add_column(f"fewer\nthan {ks[-1]}", justify="right")
    for method in result.methods:
        short = method.scores[-1].short_answers.overall
        table.add_row(
            "RGB histogram" if method.name == "histogram" else method.name,
            *(_shown(scores.majority_vote.macro) for scores in method.scores),
            *(_shown(scores.average_precision.macro) for scores in method.scores),
            f"{100 * short.value:.1f} %",
        )
    return table


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.3f}\n[dim]{estimate.low:.2f}-{estimate.high:.2f}[/]"
