"""``slidekin ingest``: slides in, many at a time, resumable."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from slidekin._exceptions import AlreadyExistsError, NotFoundError
from slidekin._sync import Client
from slidekin._types import SlideSource
from slidekin.cli._batch import Bar, Batch, reason_of, run_batch, without_twins
from slidekin.cli._common import (
    FAILED,
    RANDOM_WEIGHTS,
    CollectionOption,
    ServerOption,
    escape,
    out_console,
    warn,
)
from slidekin.cli._connection import connect
from slidekin.cli._finding import FoundSlide, find_slides
from slidekin.cli._labels import Labelled, read_labels, unknown_slides

Profile = Literal["default", "sish-2022"]
_SHOWN_UNKNOWN = 10


class _Outcome(enum.Enum):
    """What became of a slide."""

    ADDED = "added"
    PRESENT = "there already"
    RELABELLED = "label or attributes updated"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@dataclass(frozen=True)
class _Added:
    """What became of one slide, and patches that were encoded for it."""

    slide_id: str
    outcome: _Outcome
    patches: int = 0

    def told(self) -> str:
        patches = f"  {self.patches} patches" if self.patches else ""
        return f"[green]{self.outcome.value}[/]  {escape(self.slide_id)}{patches}"


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
        try:
            held = client.get_collection(collection)
        except NotFoundError:
            held = client.create_collection(collection)
        models = {served.model.fingerprint: served.model for served in client.status().models}
        if held.model_fingerprint in models and models[held.model_fingerprint].random_weights:
            warn(RANDOM_WEIGHTS)
        job = _Job(client, collection, labelled, mpp, profile, replace)
        batch = _run(job, slides, jobs)
    _report(batch, collection)
    if batch.failures:
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


def _run(job: _Job, slides: Sequence[FoundSlide], jobs: int) -> Batch[_Added]:
    """Adds the slides, ``jobs`` at a time, until all are tried or the service is gone."""
    unique, twins = without_twins(slides)
    batch = run_batch(
        job.client, unique, lambda slide, show: _add(job, slide, show), jobs=jobs, explain=_reason
    )
    batch.failures[:0] = twins
    return batch


def _add(job: _Job, slide: FoundSlide, show: Bar) -> _Added:
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
        return _Added(slide.slide_id, _Outcome.ADDED, added.slide.patch_count)
    stated = row.line and (added.slide.label, added.slide.attributes) != (row.label, row.attributes)
    if not stated:
        return _Added(slide.slide_id, _Outcome.PRESENT)
    job.client.update_slide(added.slide.name, label=row.label, attributes=row.attributes)
    return _Added(slide.slide_id, _Outcome.RELABELLED)


def _report(batch: Batch[_Added], collection: str) -> None:
    outcomes = Counter(added.outcome for added in batch.done)
    outcomes[_Outcome.FAILED] = len(batch.failures)
    outcomes[_Outcome.NOT_TRIED] = batch.not_tried
    counts = ", ".join(
        f"{outcomes[outcome]} {outcome.value}" for outcome in _Outcome if outcomes[outcome]
    )
    patches = sum(added.patches for added in batch.done)
    out_console().print(f"collection {collection}: {counts}; {patches} patches encoded")
    batch.report_failures()


def _reason(error: Exception, slide: FoundSlide) -> str:
    """The message with this command's cure."""
    reason = reason_of(error, slide)
    return f"{reason} (here: --replace)" if isinstance(error, AlreadyExistsError) else reason
