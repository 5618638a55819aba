"""``slidekin reindex``: a collection encoded anew with another model, while searches go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from slidekin._exceptions import FailedPreconditionError, NotFoundError
from slidekin._sync import Client
from slidekin._types import Collection, ServedModel, Slide, SlideSource
from slidekin.cli._batch import Bar, Batch, reason_of, run_batch, without_twins
from slidekin.cli._common import (
    FAILED,
    CollectionArgument,
    CommandError,
    ServerOption,
    YesOption,
    escape,
    out_console,
    say_random_weights,
    warn,
)
from slidekin.cli._connection import connect
from slidekin.cli._finding import FoundSlide, find_slides

_SHOWN = 20
"""Slides named at most."""


@dataclass(frozen=True)
class _Encoded:
    """What became of one slide."""

    slide_id: str
    patches: int
    """Patches encoded; 0: it was replaced or deleted while it was being read."""

    def told(self) -> str:
        if self.patches:
            return f"[green]encoded[/]  {escape(self.slide_id)}  {self.patches} patches"
        return f"[yellow]changed meanwhile[/]  {escape(self.slide_id)}"


@dataclass(frozen=True)
class _Plan:
    """What is to be done, as far as it was known at the start."""

    client: Client
    collection: str
    model: ServedModel
    files: Mapping[str, FoundSlide]
    """By id of the slide."""
    unverified: bool
    jobs: int

    @property
    def fingerprint(self) -> str:
        return self.model.model.fingerprint

    def without_file(self, slides: Iterable[Slide]) -> list[str]:
        return [slide.slide_id for slide in slides if slide.slide_id not in self.files]


def reindex(
    collection: CollectionArgument,
    *,
    model: Annotated[
        str | None,
        typer.Option(help="Served model: its name, or how its fingerprint begins."),
    ] = None,
    slides: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Slides, or folders to search for them; repeatable."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what there is to do and what is missing.")
    ] = False,
    drop_missing: Annotated[
        bool,
        typer.Option(
            "--drop-missing",
            help="At the end, delete slides that cannot be encoded anew: their files are missing, "
            "or they are damaged on the service's disk.",
        ),
    ] = False,
    unverified: Annotated[
        bool,
        typer.Option(
            "--unverified",
            help="Take files whose content does not show that the slides were added from them.",
        ),
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Throw away what was encoded anew, and change nothing.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Slides read at the same time.")] = 2,
    yes: YesOption = False,
    server: ServerOption = None,
) -> None:
    """Give a collection another model: read its slides again, encode them, swap at the end.

    Searches use the old codes until all slides are encoded, and the new ones from then on. Labels,
    patients and places of patches stay as they are. An interrupted run is resumed by running it
    again. Slides that are added meanwhile are encoded too.
    """
    if cancel:
        with connect(server) as client:
            discarded = client.cancel_reindex(collection)
        out_console().print(f"collection {collection}: {discarded} slides with new codes discarded")
        return
    if model is None or not slides:
        raise typer.BadParameter(
            "say which model, and where the slides are: --model NAME --slides DIR",
            param_hint="--model" if model is None else "--slides",
        )
    unique, twins = without_twins(find_slides(slides))
    for twin, reason in twins:
        warn(f"{twin.path}: {reason}")
    with connect(server) as client:
        plan = _Plan(
            client,
            collection,
            _served(client, model),
            {slide.slide_id: slide for slide in unique},
            unverified,
            jobs,
        )
        held = client.get_collection(collection)
        if held.model_fingerprint == plan.fingerprint and not held.reindex_model_fingerprint:
            out_console().print(f"collection {collection} has model {_named(plan.model)} already")
            return
        lost = _lost(plan, held, dry_run=dry_run)
        if dry_run:
            raise typer.Exit(FAILED if lost and not drop_missing else 0)
        if lost and not drop_missing:
            raise CommandError(
                f"{len(lost)} slides cannot be encoded anew ({_listed(lost)}): name the folder "
                "of their files too (--slides), or have them deleted at the end (--drop-missing)"
            )
        if lost and not yes:
            typer.confirm(
                f"Delete {len(lost)} slides at the end ({_listed(lost)})?", abort=True, err=True
            )
        client.start_reindex(collection, model_fingerprint=plan.fingerprint)
        if plan.model.model.random_weights:
            say_random_weights()
        _encode_and_swap(plan, lost)


def _served(client: Client, wanted: str) -> ServedModel:
    """The served model of that name, or whose fingerprint begins so."""
    models = client.status().models
    found = [model for model in models if model.name == wanted] or [
        model for model in models if model.model.fingerprint.startswith(wanted.lower())
    ]
    if len(found) == 1:
        return found[0]
    known = ", ".join(_named(model) for model in models) or "none"
    raise CommandError(
        f"{'several served models begin' if found else 'no served model is called, or begins,'} "
        f"with {wanted!r}; served are: {known}"
    )


def _lost(plan: _Plan, held: Collection, *, dry_run: bool) -> list[str]:
    """Ids of slides that cannot be encoded anew; with ``dry_run``, says all that was found."""
    client = plan.client
    if held.reindex_model_fingerprint == plan.fingerprint:
        pending = list(client.list_pending_slides(plan.collection))
        damaged = client.get_reindex(plan.collection).damaged_slides
    else:
        pending = list(client.list_slides(plan.collection))
        prefix = f"{held.name}/slides/"
        damaged = tuple(name for name in client.status().damaged_slides if name.startswith(prefix))
    missing = plan.without_file(pending)
    broken = [name.rpartition("/")[2] for name in damaged]
    if dry_run:
        out = out_console()
        out.print(
            f"collection {plan.collection}: {held.slide_count} slides, "
            f"{held.slide_count - len(pending)} of them encoded with {_named(plan.model)}, "
            f"{len(pending) - len(missing)} to do"
        )
        for what, ids in (("without a file", missing), ("damaged on disk", broken)):
            if ids:
                out.print(f"{len(ids)} {what}: {escape(_listed(ids))}", soft_wrap=True)
    return [*missing, *(slide for slide in broken if slide not in missing)]


def _encode_and_swap(plan: _Plan, lost: list[str]) -> None:
    """Encodes what is pending until nothing is, also of what is added meanwhile; then swaps."""
    client, out = plan.client, out_console()
    encoded = 0
    refused = False
    while True:
        pending = [
            slide
            for slide in client.list_pending_slides(plan.collection)
            if slide.slide_id not in lost
        ]
        new = plan.without_file(pending)
        if new:
            raise CommandError(
                f"added meanwhile, and their files are not among --slides: {_listed(new)}; run the "
                "command again with their folder"
            )
        batch = _encode(plan, [plan.files[slide.slide_id] for slide in pending])
        encoded += sum(1 for slide in batch.done if slide.patches)
        if batch.failures:
            out.print(
                f"collection {plan.collection}: {encoded} slides encoded anew, "
                f"{len(batch.failures)} failed, {batch.not_tried} not tried; searches use the old "
                "codes; run the same command again to go on"
            )
            batch.report_failures()
            raise typer.Exit(FAILED)
        try:
            done = client.finish_reindex(
                plan.collection, model_fingerprint=plan.fingerprint, drop_slides=lost
            )
        except FailedPreconditionError as error:
            # Slides were added or replaced since they were listed; or, where twice there was none
            # to do, some are missing that no listing shows: the error names them.
            if error.reason != "REINDEX_INCOMPLETE" or (refused and not pending):
                raise
            refused = not pending
            continue
        out.print(
            f"collection {plan.collection} has model {_named(plan.model)}: {encoded} slides "
            f"encoded anew by this run, {done.slide_count} held"
            + (f"; deleted: {escape(_listed(lost))}" if lost else ""),
            soft_wrap=True,
        )
        return


def _encode(plan: _Plan, slides: list[FoundSlide]) -> Batch[_Encoded]:
    def encode(slide: FoundSlide, show: Bar) -> _Encoded:
        source = SlideSource(slide.path, slide_id=slide.slide_id)
        try:
            added = plan.client.reindex_slide(
                source, collection=plan.collection, unverified=plan.unverified, progress=show
            )
        except NotFoundError:
            return _Encoded(slide.slide_id, 0)
        except FailedPreconditionError as error:
            if error.reason != "SLIDE_CHANGED":
                raise
            return _Encoded(slide.slide_id, 0)
        return _Encoded(slide.slide_id, added.slide.patch_count)

    return run_batch(plan.client, slides, encode, jobs=plan.jobs, explain=_reason)


def _reason(error: Exception, slide: FoundSlide) -> str:
    return reason_of(error, slide).replace("(unverified)", "(--unverified)")


def _listed(ids: list[str]) -> str:
    shown = ", ".join(ids[:_SHOWN])
    return f"{shown} and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else shown


def _named(model: ServedModel) -> str:
    return f"{model.name} ({model.model.fingerprint[:12]})"
