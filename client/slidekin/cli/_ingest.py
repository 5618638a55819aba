"""``slidekin ingest``: slides in, many at a time, resumable."""

from __future__ import annotations

import enum
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from slidekin._client import Client
from slidekin._exceptions import (
    AccessDeniedError,
    AlreadyExistsError,
    NotFoundError,
    SlidekinError,
    UnavailableError,
)
from slidekin._types import SlideSource
from slidekin.cli._common import (
    FAILED,
    RANDOM_WEIGHTS,
    CollectionOption,
    ServerOption,
    connect,
    err_console,
    escape,
    out_console,
    warn,
)
from slidekin.cli._finding import FoundSlide, find_slides
from slidekin.cli._labels import Labelled, read_labels, unknown_slides

Profile = Literal["default", "sish-2022"]
_WAKE_S = 0.5
"""A Ctrl-C that the system hands to another thread is seen only when this one wakes."""
_SHOWN_UNKNOWN = 10


class _Outcome(enum.Enum):
    """What became of a slide."""

    ADDED = "added"
    PRESENT = "there already"
    RELABELLED = "label or attributes updated"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@dataclass
class _Summary:
    """What became of all of them."""

    outcomes: dict[_Outcome, int] = field(default_factory=dict)
    patches: int = 0
    failures: list[tuple[FoundSlide, str]] = field(default_factory=list)

    def count(self, outcome: _Outcome, number: int = 1) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + number


@dataclass(frozen=True)
class _Job:
    """What is the same for every slide."""

    client: Client
    collection: str
    labels: Mapping[str, Labelled]
    mpp: float | None
    profile: str
    replace: bool


def ingest(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...", help="Slides, DICOM folders, or folders to search for slides."
        ),
    ],
    *,
    collection: CollectionOption,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV (UTF-8) with the columns slide, patient, label; others become attributes."
        ),
    ] = None,
    mpp: Annotated[
        float | None,
        typer.Option(help="Micrometres per pixel at level 0, for slides that do not say it."),
    ] = None,
    profile: Annotated[Profile, typer.Option(help="How the mosaic is picked.")] = "default",
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Slides read at the same time.")] = 2,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace slides that are there with other content.")
    ] = False,
    server: ServerOption = None,
) -> None:
    """Add slides to a collection, which is created where it is missing.

    Slides that are there already are skipped, so an interrupted run is resumed by running it
    again. A slide that cannot be used does not stop the others: it is listed at the end with its
    reason, and the exit code is 1.
    """
    labelled = read_labels(labels) if labels else {}
    slides = find_slides(paths)
    if not slides:
        raise typer.BadParameter(f"no slides in {', '.join(map(str, paths))}", param_hint="PATH...")
    if labels:
        _check_labels(labels, labelled, slides)
    with connect(server) as client:
        if client.status().model.random_weights:
            warn(RANDOM_WEIGHTS)
        try:
            client.get_collection(collection)
        except NotFoundError:
            client.create_collection(collection)
        job = _Job(client, collection, labelled, mpp, profile, replace)
        summary = _run(job, slides, jobs)
    _report(summary, collection)
    if summary.failures:
        raise typer.Exit(FAILED)


def _check_labels(
    file: Path, labelled: Mapping[str, Labelled], slides: Sequence[FoundSlide]
) -> None:
    known = {name for slide in slides for name in (slide.slide_id, slide.path.name)}
    unknown = unknown_slides(labelled, known)
    for slide, line in unknown[:_SHOWN_UNKNOWN]:
        warn(f"{file}, line {line}: no slide '{slide}' among the given paths; the row is not used")
    if len(unknown) > _SHOWN_UNKNOWN:
        warn(f"{file}: {len(unknown) - _SHOWN_UNKNOWN} more rows name no slide of the given paths")
    without = [slide.slide_id for slide in slides if _row(labelled, slide) is None]
    if without:
        shown = ", ".join(without[:3]) + (", ..." if len(without) > 3 else "")
        warn(f"{file} has no row for {len(without)} of {len(slides)} slides ({shown})")


def _row(labelled: Mapping[str, Labelled], slide: FoundSlide) -> Labelled | None:
    return labelled.get(slide.slide_id) or labelled.get(slide.path.name)


def _run(job: _Job, slides: Sequence[FoundSlide], jobs: int) -> _Summary:
    """Adds the slides, ``jobs`` at a time, until all are tried or the service is gone."""
    summary = _Summary()
    unique = _without_twins(slides, summary)
    console = err_console()
    gone: str | None = None
    with (
        Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[stage]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        ) as progress,
        ThreadPoolExecutor(max_workers=jobs) as pool,
    ):
        overall = progress.add_task("slides", total=len(unique), stage="")
        waiting = list(reversed(unique))
        running: dict[Future[tuple[_Outcome, int]], FoundSlide] = {}
        try:
            while waiting or running:
                # Handed out one by one: a service that is gone leaves the rest untried.
                while waiting and len(running) < jobs and gone is None:
                    slide = waiting.pop()
                    running[pool.submit(_add_shown, job, slide, progress)] = slide
                if not running:
                    break
                done, _ = wait(running, timeout=_WAKE_S, return_when=FIRST_COMPLETED)
                for future in done:
                    slide = running.pop(future)
                    progress.advance(overall)
                    try:
                        outcome, patches = future.result()
                    except (UnavailableError, AccessDeniedError) as error:
                        gone = str(error)
                        summary.failures.append((slide, gone))
                    except (SlidekinError, OSError, ValueError) as error:
                        summary.failures.append((slide, _reason(error, slide)))
                        progress.console.print(f"[red]failed[/]   {escape(slide.slide_id)}")
                    else:
                        summary.count(outcome)
                        summary.patches += patches
                        progress.console.print(
                            f"[green]{outcome.value}[/]  {escape(slide.slide_id)}"
                            + (f"  {patches} patches" if patches else "")
                        )
        except KeyboardInterrupt:
            # Else the pool would wait for the slides under way to be encoded.
            job.client.close()
            raise
    summary.count(_Outcome.FAILED, len(summary.failures))
    summary.count(_Outcome.NOT_TRIED, len(waiting))
    return summary


def _without_twins(slides: Sequence[FoundSlide], summary: _Summary) -> list[FoundSlide]:
    """The slides but those whose id another one has taken."""
    first: dict[str, FoundSlide] = {}
    for slide in slides:
        taken = first.setdefault(slide.slide_id, slide)
        if taken is not slide:
            summary.failures.append(
                (slide, f"{taken.path} has the same id; rename one of the files")
            )
    return list(first.values())


def _add_shown(job: _Job, slide: FoundSlide, progress: Progress) -> tuple[_Outcome, int]:
    """Adds one slide, with a bar of its own while it lasts."""
    task = progress.add_task(f"  {escape(slide.slide_id)}", total=None, stage="opening")
    show = _Bar(progress, task)
    try:
        return _add(job, slide, show)
    finally:
        progress.remove_task(task)


def _add(job: _Job, slide: FoundSlide, show: _Bar) -> tuple[_Outcome, int]:
    row = _row(job.labels, slide) or Labelled(line=0)
    added = job.client.add_slide(
        SlideSource(slide.path, slide_id=slide.slide_id, mpp=job.mpp, mosaic=job.profile),
        collection=job.collection,
        patient_id=row.patient_id,
        label=row.label,
        attributes=row.attributes,
        replace=job.replace,
        progress=show,
    )
    if not added.already_present:
        return _Outcome.ADDED, added.slide.patch_count
    stated = row.line and (added.slide.label, added.slide.attributes) != (row.label, row.attributes)
    if not stated:
        return _Outcome.PRESENT, 0
    job.client.update_slide(added.slide.name, label=row.label, attributes=row.attributes)
    return _Outcome.RELABELLED, 0


class _Bar:
    """Progress of one slide; told by the thread that reads it and the one that sends it."""

    _STAGES: Mapping[str, str] = {
        "tissue": "finding tissue",
        "patches": "looking at patches",
        "mosaic": "picking the mosaic",
        "send": "encoding",
    }

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._lock = threading.Lock()

    def __call__(self, stage: str, done: int, total: int) -> None:
        with self._lock:
            self._progress.update(
                self._task, completed=done, total=total, stage=self._STAGES.get(stage, stage)
            )


def _report(summary: _Summary, collection: str) -> None:
    console = out_console()
    counts = ", ".join(
        f"{number} {outcome.value}"
        for outcome in _Outcome
        if (number := summary.outcomes.get(outcome, 0))
    )
    console.print(f"collection {collection}: {counts}; {summary.patches} patches encoded")
    if not summary.failures:
        return
    console.print("\nSlides that failed:")
    for slide, reason in summary.failures:
        console.print(f"  {escape(str(slide.path))}", soft_wrap=True)
        console.print(Padding(escape(reason), (0, 0, 0, 6)))
    if summary.outcomes.get(_Outcome.NOT_TRIED):
        console.print("The service went away; run the same command again to go on.")


def _reason(error: Exception, slide: FoundSlide) -> str:
    """The message without the path, which the list names already, and with this command's cure."""
    reason = str(error).removeprefix(f"{slide.path}: ")
    return f"{reason} (here: --replace)" if isinstance(error, AlreadyExistsError) else reason
