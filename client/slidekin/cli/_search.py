"""``slidekin search``: ranked slides out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from slidekin._sync import Client
from slidekin._types import (
    RankingMethod,
    SearchMode,
    SearchOptions,
    SearchResult,
    SlideFilter,
    SlideSource,
)
from slidekin.cli._common import (
    CollectionOption,
    ServerOption,
    err_console,
    escape,
    out_console,
    say_random_weights,
)
from slidekin.cli._connection import connect
from slidekin.cli._filters import parse_filter
from slidekin.report import fetch_pictures, render_html, to_geojson, to_json, with_stored_query

if TYPE_CHECKING:
    from slidekin.slides import Region

Profile = Literal["default", "sish-2022"]
_STAGES = {
    "tissue": "finding tissue",
    "patches": "looking at patches",
    "mosaic": "picking the mosaic",
    "send": "sending patches",
    "search": "encoding and searching",
}


def search(
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="The query: a slide or a DICOM folder.")
    ] = None,
    *,
    collection: CollectionOption,
    stored: Annotated[
        str | None, typer.Option(metavar="SLIDE", help="Search with a slide the collection holds.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(metavar="X,Y,W,H", help="Only this part, in level-0 pixels.")
    ] = None,
    mpp: Annotated[
        float | None,
        typer.Option(help="Micrometres per pixel at level 0, where the slide does not say it."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Slides to return.")] = 5,
    mode: Annotated[
        SearchMode, typer.Option(help="How patches are looked for; auto: as the profile does.")
    ] = "auto",
    profile: Annotated[
        Profile, typer.Option(help="How the mosaic is picked and the index is searched.")
    ] = "default",
    ranking: Annotated[RankingMethod, typer.Option(help="How slides are ranked.")] = "auto",
    exclude_patient: Annotated[
        list[str] | None,
        typer.Option(metavar="PATIENT", help="Leave out this patient's slides; may be repeated."),
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="NAME=VALUE",
            help="Admit slides of this label (label=...) or attribute; may be repeated.",
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the whole answer as JSON.")
    ] = None,
    geojson_file: Annotated[
        Path | None, typer.Option("--geojson", help="Write the patches as GeoJSON (QuPath).")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write a report, one self-contained page.")
    ] = None,
    server: ServerOption = None,
) -> None:
    """Find the slides of a collection that look like a slide, or like a region of one."""
    if (path is None) == (stored is None):
        raise typer.BadParameter("give either a slide's path or --stored SLIDE", param_hint="PATH")
    if stored is not None and (region or mpp):
        raise typer.BadParameter(
            "a stored slide is searched as it was stored: no --region, no --mpp",
            param_hint="--stored",
        )
    for file in (json_file, geojson_file, html_file):
        # Said before minutes are spent on the search.
        if file is not None and not file.absolute().parent.is_dir():
            raise typer.BadParameter(
                f"{file.absolute().parent} is not a folder", param_hint=str(file)
            )
    options = SearchOptions(
        k=k,
        mode=mode,
        profile=profile,
        ranking=ranking,
        filter=_filter(filters or [], exclude_patient or []),
        max_evidence_per_slide=6 if html_file or geojson_file else None,
    )
    with connect(server) as client:
        if path is not None:
            source = SlideSource(path, mpp=mpp, mosaic=profile, region=_region(region))
            result = _search_path(client, source, collection, options)
        else:
            result = client.search_stored_slide(str(stored), collection=collection, options=options)
            if json_file or geojson_file or html_file:
                result = with_stored_query(client, result)
        if html_file is not None:
            page = render_html(result, fetch_pictures(client, result))
            html_file.write_text(page, encoding="utf-8")
    if json_file is not None:
        _write_json(json_file, to_json(result))
    if geojson_file is not None:
        _write_json(geojson_file, to_geojson(result))
    _show(result, [file for file in (json_file, geojson_file, html_file) if file])


def _search_path(
    client: Client, source: SlideSource, collection: str, options: SearchOptions
) -> SearchResult:
    # A collection that is not there is said at once, not after the slide was read.
    client.get_collection(collection)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err_console(),
        transient=True,
    ) as progress:
        task = progress.add_task("opening the slide", total=None)

        def show(stage: str, done: int, total: int) -> None:
            if stage == "send":
                return  # overlaps with the search, which says how far it is itself
            progress.update(
                task, description=_STAGES.get(stage, stage), completed=done, total=total
            )

        return client.search_slide(source, collection=collection, options=options, progress=show)


def _region(text: str | None) -> Region | None:
    if text is None:
        return None
    from slidekin.slides import Region  # noqa: PLC0415 - loads the readers of slides

    try:
        return Region.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--region") from None


def _filter(conditions: Iterable[str], patients: Iterable[str]) -> SlideFilter:
    labels, attributes = parse_filter(conditions)
    return SlideFilter(labels=labels, attributes=attributes, exclude_patient_ids=list(patients))


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _show(result: SearchResult, written: list[Path]) -> None:
    console = out_console()
    if result.random_weights:
        say_random_weights()
    table = Table(
        title=f"Slides like {escape(result.query.slide_id)}, of collection "
        f"{escape(result.collection.rpartition('/')[2])}",
        title_justify="left",
    )
    table.add_column("rank", justify="right")
    table.add_column("slide", overflow="fold")
    table.add_column("label", overflow="fold")
    table.add_column("distance\nbits", justify="right")
    table.add_column("entropy\nbits", justify="right")
    table.add_column("score", justify="right")
    table.add_column("pairs", justify="right")
    for found in result.slides:
        table.add_row(
            str(found.rank),
            escape(found.slide.slide_id),
            escape(found.slide.label) or "-",
            str(found.hamming_distance_bits),
            "-" if found.entropy is None else f"{found.entropy:.3f}",
            "-" if found.score is None else f"{found.score:.3f}",
            str(len(found.evidence)),
        )
    if result.slides:
        console.print(table)
    else:
        console.print("no slide was found")
    for message in result.short_messages:
        console.print(f"note: {escape(message)}", soft_wrap=True)
    modes = ", ".join(f"{count} {mode}" for mode, count in result.modes.items())
    console.print(
        f"{result.query_patch_count} query patches ({modes}) in {result.timings.total_s:.2f} s",
        style="dim",
    )
    for file in written:
        console.print(f"written: {escape(str(file))}", style="dim", soft_wrap=True)
