"""``slidekin collections``: create, list, show, delete."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer
from rich.table import Table

from slidekin._types import Collection
from slidekin.cli._common import (
    CollectionArgument,
    ErrorGroup,
    JsonFlag,
    ServerOption,
    YesOption,
    escape,
    out_console,
)
from slidekin.cli._connection import connect
from slidekin.cli._slides import print_json

app = typer.Typer(
    help="Create, list, show and delete collections.", cls=ErrorGroup, no_args_is_help=True
)


@app.command()
def create(
    collection: CollectionArgument,
    display_name: Annotated[str, typer.Option(help="Name for people.")] = "",
    description: Annotated[str, typer.Option(help="What it is to hold.")] = "",
    threshold: Annotated[
        int,
        typer.Option(min=0, help="Hamming distance, in bits, of what is alike. 0: the model's."),
    ] = 0,
    server: ServerOption = None,
) -> None:
    """Create an empty collection for the model that is served."""
    with connect(server) as client:
        created = client.create_collection(
            collection,
            display_name=display_name,
            description=description,
            hamming_threshold_bits=threshold,
        )
    out_console().print(
        f"collection {created.collection_id}: {created.texture_bits}-bit textures, alike up to "
        f"{created.hamming_threshold_bits} bits, model {created.model_fingerprint[:16]}",
        soft_wrap=True,
    )


@app.command("list")
def list_(*, as_json: JsonFlag = False, server: ServerOption = None) -> None:
    """List collections."""
    with connect(server) as client:
        collections = list(client.list_collections())
    if as_json:
        for collection in collections:
            print_json(_json(collection))
        return
    out_console().print(collections_table(collections) if collections else "no collections")


@app.command()
def get(
    collection: CollectionArgument, *, as_json: JsonFlag = False, server: ServerOption = None
) -> None:
    """Show one collection."""
    with connect(server) as client:
        found = client.get_collection(collection)
    if as_json:
        print_json(_json(found))
        return
    table = Table(show_header=False, box=None)
    for name, value in _json(found).items():
        table.add_row(name, escape(str(value or "-")))
    out_console().print(table)


@app.command()
def delete(
    collection: CollectionArgument,
    *,
    force: Annotated[bool, typer.Option("--force", help="Delete its slides with it.")] = False,
    yes: YesOption = False,
    server: ServerOption = None,
) -> None:
    """Delete a collection."""
    with connect(server) as client:
        if not yes:
            slides = client.get_collection(collection).slide_count
            typer.confirm(
                f"Delete collection {collection} ({slides} slides)?", abort=True, err=True
            )
        deleted = client.delete_collection(collection, force=force)
    out_console().print(f"deleted {collection} with {deleted} slides")


def collections_table(collections: list[Collection]) -> Table:
    """Collections for people."""
    table = Table(title="Collections", title_justify="left")
    table.add_column("collection", overflow="fold")
    table.add_column("name", overflow="fold")
    table.add_column("slides", justify="right")
    table.add_column("patches", justify="right")
    table.add_column("alike up to", justify="right")
    table.add_column("model")
    for collection in collections:
        table.add_row(
            escape(collection.collection_id),
            escape(collection.display_name),
            f"{collection.slide_count:,}",
            f"{collection.patch_count:,}",
            f"{collection.hamming_threshold_bits} of {collection.texture_bits} bits",
            _model(collection),
        )
    return table


def _model(collection: Collection) -> str:
    held, wanted = collection.model_fingerprint[:16], collection.reindex_model_fingerprint[:16]
    return f"{held}, being reindexed to {wanted}" if wanted else held


def _json(collection: Collection) -> dict[str, Any]:
    facts = {"collection_id": collection.collection_id, **dataclasses.asdict(collection)}
    facts["create_time"] = collection.create_time.isoformat() if collection.create_time else None
    return facts
