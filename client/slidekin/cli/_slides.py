"""``slidekin slides``: what a collection holds."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.table import Table

from slidekin._types import ExportedSlide, Slide, SlideFilter
from slidekin.cli._common import (
    FAILED,
    CollectionArgument,
    CollectionOption,
    ErrorGroup,
    JsonFlag,
    ServerOption,
    SlideArgument,
    YesOption,
    err_console,
    escape,
    out_console,
)
from slidekin.cli._connection import connect
from slidekin.cli._filters import parse_attributes, parse_filter

app = typer.Typer(
    help="List, show, label, delete and export slides.", cls=ErrorGroup, no_args_is_help=True
)


@app.command("list")
def list_(
    collection: CollectionArgument,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", metavar="NAME=VALUE", help="Only this label (label=...) or attribute."
        ),
    ] = None,
    *,
    as_json: JsonFlag = False,
    server: ServerOption = None,
) -> None:
    """List slides in order of insertion."""
    labels, attributes = parse_filter(filters or [])
    wanted = SlideFilter(labels=labels, attributes=attributes)
    with connect(server) as client:
        slides = client.list_slides(collection, filter=wanted)
        if as_json:
            for slide in slides:
                print_json(slide_json(slide))
            return
        table = Table()
        for name in ("slide", "patient", "label", "attributes"):
            table.add_column(name, overflow="fold")
        table.add_column("patches", justify="right")
        table.add_column("added (UTC)")
        for slide in slides:
            added = slide.create_time
            table.add_row(
                escape(slide.slide_id),
                escape(slide.patient_id),
                escape(slide.label),
                escape(_attributes(slide)),
                str(slide.patch_count),
                added.strftime("%Y-%m-%d %H:%M") if added else "",
            )
    out_console().print(table if table.row_count else "no slides")


@app.command()
def get(
    slide: SlideArgument,
    collection: CollectionOption,
    *,
    as_json: JsonFlag = False,
    server: ServerOption = None,
) -> None:
    """Show one slide."""
    with connect(server) as client:
        found = client.get_slide(slide, collection=collection)
    if as_json:
        print_json(slide_json(found))
        return
    table = Table(show_header=False, box=None)
    for name, value in slide_json(found).items():
        shown = _attributes(found) if name == "attributes" else str(value or "-")
        table.add_row(name, escape(shown))
    out_console().print(table)


@app.command()
def label(
    slide: SlideArgument,
    new_label: Annotated[
        str | None, typer.Argument(metavar="[LABEL]", help="What it shows; '' takes it away.")
    ] = None,
    *,
    collection: CollectionOption,
    attribute: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Set an attribute; '' takes it away."),
    ] = None,
    server: ServerOption = None,
) -> None:
    """Change a slide's label or attributes."""
    changes = parse_attributes(attribute or [])
    if new_label is None and not changes:
        raise typer.BadParameter("give a label or --attribute NAME=VALUE", param_hint="LABEL")
    with connect(server) as client:
        attributes = None
        if changes:
            held = client.get_slide(slide, collection=collection).attributes
            attributes = {name: value for name, value in {**held, **changes}.items() if value}
        changed = client.update_slide(
            slide, collection=collection, label=new_label, attributes=attributes
        )
    out_console().print(
        f"{escape(changed.slide_id)}: label {escape(changed.label) or '-'}"
        f"{', ' + escape(_attributes(changed)) if changed.attributes else ''}"
    )


@app.command()
def delete(
    slide: SlideArgument,
    collection: CollectionOption,
    *,
    yes: YesOption = False,
    server: ServerOption = None,
) -> None:
    """Delete a slide from disk and index."""
    with connect(server) as client:
        if not yes:
            typer.confirm(
                f"Delete slide {slide} from collection {collection}?", abort=True, err=True
            )
        patches = client.delete_slide(slide, collection=collection)
    out_console().print(f"deleted {escape(slide)} with {patches} patches")


@app.command()
def delete_patient(
    patient: Annotated[str, typer.Argument(help="The patient to erase.")],
    collection: Annotated[
        str, typer.Option("--collection", "-c", help="Where; '-' means every collection.")
    ],
    *,
    yes: YesOption = False,
    server: ServerOption = None,
) -> None:
    """Delete every slide of a patient."""
    with connect(server) as client:
        if not yes:
            where = "every collection" if collection == "-" else f"collection {collection}"
            typer.confirm(f"Delete all slides of this patient from {where}?", abort=True, err=True)
        deleted = client.delete_patient(patient, collection=collection)
    if not deleted:
        err_console().print("no slide of this patient is held: nothing was deleted")
        raise typer.Exit(FAILED)
    for name in deleted:
        out_console().print(f"deleted {escape(name)}", soft_wrap=True)


@app.command()
def export(
    collection: CollectionArgument,
    out: Annotated[
        Path | None, typer.Option(help="File to write. Default: standard output.")
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", metavar="NAME=VALUE", help="Only this label (label=...) or attribute."
        ),
    ] = None,
    server: ServerOption = None,
) -> None:
    """Write slides with their codes as JSON Lines, one slide a line."""
    labels, attributes = parse_filter(filters or [])
    wanted = SlideFilter(labels=labels, attributes=attributes)
    with connect(server) as client:
        exported = client.export_slides(collection, filter=wanted)
        if out is None:
            for slide in exported:
                print_json(_export_json(slide))
            return
        # Under its own name only once it is whole.
        draft = out.with_name(out.name + ".part")
        count = 0
        with draft.open("w", encoding="utf-8") as stream:
            for slide in exported:
                print_json(_export_json(slide), stream)
                count += 1
        draft.replace(out)
    err_console().print(f"{count} slides written to {escape(str(out))}", soft_wrap=True)


def slide_json(slide: Slide) -> dict[str, Any]:
    """A slide's facts as plain JSON values."""
    facts = {"slide_id": slide.slide_id, **dataclasses.asdict(slide)}
    facts["create_time"] = slide.create_time.isoformat() if slide.create_time else None
    return facts


def print_json(content: dict[str, Any], stream: TextIO | None = None) -> None:
    """One value on one line."""
    (stream or sys.stdout).write(json.dumps(content, ensure_ascii=False) + "\n")


def _export_json(exported: ExportedSlide) -> dict[str, Any]:
    codes = exported.codes
    return {
        "slide": slide_json(exported.slide),
        "model_fingerprint": exported.model_fingerprint,
        "keys": codes.keys.tolist(),
        "textures": [texture.tobytes().hex() for texture in codes.textures],
        "xy_px": codes.xy.tolist(),
    }


def _attributes(slide: Slide) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(slide.attributes.items()))
