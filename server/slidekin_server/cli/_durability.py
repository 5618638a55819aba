"""Commands for administrators: ``snapshot``, ``restore``, ``verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NoReturn

import grpc
import typer

from slidekin.v1 import admin_pb2, admin_pb2_grpc
from slidekin_server.cli._dialling import (
    CaFileOption,
    CertificateFileOption,
    DiallingError,
    KeyFileOption,
    ServerOption,
    dialled,
)
from slidekin_server.storage import (
    Snapshot,
    StorageError,
    check_snapshot,
    is_snapshot,
    restore_snapshot,
    verify_store,
)


def snapshot(
    *,
    server: ServerOption = "127.0.0.1:50051",
    ca_file: CaFileOption = None,
    certificate_file: CertificateFileOption = None,
    key_file: KeyFileOption = None,
    keep: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            envvar="SLIDEKIN_SNAPSHOTS_KEPT",
            help="Once the new one is good, remove the oldest ones beyond N. Default: keep all.",
        ),
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", help="Seconds; a store of 1 GB takes about ten.")
    ] = 3600.0,
) -> None:
    """Have a running service copy its store into its folder of snapshots.

    Searches and changes go on meanwhile. The copy is checked byte by byte before it counts, and
    none is removed where it failed. Damaged snapshots neither count among those kept nor go.
    """
    try:
        with dialled(
            server, ca_file=ca_file, certificate_file=certificate_file, key_file=key_file
        ) as service:
            response = admin_pb2_grpc.AdminServiceStub(service.channel).CreateSnapshot(
                admin_pb2.CreateSnapshotRequest(keep_count=keep or 0),
                timeout=timeout_s,
                metadata=service.metadata,
            )
    except DiallingError as error:
        _fail(str(error))
    except grpc.RpcError as error:
        call: Any = error  # every error of a call is the call itself
        _fail(f"no snapshot was made: {call.details()} ({server}, {call.code().name})")
    made = response.snapshot
    typer.echo(
        f"{made.name}: {made.slide_count} slides in {made.collection_count} collections, change "
        f"{made.sequence}, {made.size_bytes} bytes, SHA-256 {made.sha256}"
    )
    for removed in response.removed_snapshots:
        typer.echo(f"removed: {removed}")
    _warn(made.damaged_slide_count)


def restore(
    source: Annotated[Path, typer.Argument(metavar="SNAPSHOT", help="Folder of the snapshot.")],
    *,
    to: Annotated[Path, typer.Option(help="Folder of the new store: missing or empty.")],
) -> None:
    """Make a store of a snapshot, after a look at every byte of it.

    Nothing is overwritten. Start the service with storage.path set to the new folder.
    """
    try:
        restored = restore_snapshot(source, to)
    except StorageError as error:
        _fail(str(error))
    typer.echo(f"{to}: {_contents(restored)}")
    _warn(restored.damaged_slide_count)


def verify(
    folder: Annotated[Path, typer.Argument(help="A snapshot, or a store that is not in use.")],
) -> None:
    """Look at every byte of a snapshot or of a store and say what is damaged.

    Exit code 0: all of it is sound.
    """
    try:
        if is_snapshot(folder):
            checked = check_snapshot(folder)
            typer.echo(f"{folder}: sound; {_contents(checked)}")
            _warn(checked.damaged_slide_count)
            damaged = checked.damaged_slide_count
        else:
            survey = verify_store(folder)
            for one in survey.damaged:
                typer.echo(
                    f"damaged: collections/{one.collection}/slides/{one.slide_id} "
                    f"(number {one.number})",
                    err=True,
                )
            damaged = len(survey.damaged)
            typer.echo(
                f"{folder}: the database is sound; {survey.slide_count} slides in "
                f"{survey.collection_count} collections, {damaged} of them damaged, change "
                f"{survey.sequence}"
            )
    except StorageError as error:
        _fail(str(error))
    if damaged:
        raise typer.Exit(1)


def _contents(checked: Snapshot) -> str:
    return (
        f"{checked.slide_count} slides in {checked.collection_count} collections, change "
        f"{checked.sequence}, as of {checked.create_time:%Y-%m-%d %H:%M:%S} UTC"
    )


def _warn(damaged: int) -> None:
    if damaged:
        typer.echo(
            f"{damaged} of the slides were damaged in the store already: they are not served until "
            "they are added again",
            err=True,
        )


def _fail(problem: str) -> NoReturn:
    typer.echo(problem, err=True)
    raise typer.Exit(1)
