"""The command ``slidekin-server import-sish``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from slidekin_server.bundle import BundleError, ModelBundle, load_bundle
from slidekin_server.cli._dialling import (
    CaFileOption,
    CertificateFileOption,
    DiallingError,
    KeyFileOption,
    ServerOption,
    dialled,
)

if TYPE_CHECKING:
    from slidekin_server import released

_SHOWN = 20


def import_sish(
    latent: Annotated[
        Path,
        typer.Argument(
            metavar="LATENT", help="Folder with */vqvae/SLIDE.h5 and */densenet/SLIDE.pkl."
        ),
    ],
    meta: Annotated[Path, typer.Argument(metavar="META", help="The file index_meta/meta.pkl.")],
    *,
    bundle: Annotated[
        Path,
        typer.Option(
            help="Model bundle of the published VQ-VAE and DenseNet-121 (docs/models.md)."
        ),
    ],
    collection: Annotated[str, typer.Option("--collection", "-c", help="Created where missing.")],
    server: ServerOption = "127.0.0.1:50051",
    ca_file: CaFileOption = None,
    certificate_file: CertificateFileOption = None,
    key_file: KeyFileOption = None,
    slide_field: Annotated[
        str | None, typer.Option(help="Field of a patch that names its slide, where it is unclear.")
    ] = None,
    label_field: Annotated[
        str | None, typer.Option(help="Field of a patch that is its slide's label.")
    ] = None,
    patient_field: Annotated[
        str | None, typer.Option(help="Field of a patch that is its slide's patient.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV with the columns slide, patient, label; it wins over META."),
    ] = None,
    patient_pattern: Annotated[
        str | None,
        typer.Option(
            help="Regular expression with one group, the patient, for slides whose patient neither "
            "the CSV nor META names: '^(TCGA-..-....)'."
        ),
    ] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds for each call.")] = 60.0,
) -> None:
    """Bring a database of the published SISH program into a collection of a running service.

    The files are read as data: nothing in them is run. A slide that is there already is skipped;
    one that cannot be imported is named at the end, and the others are. Exit code 0: all are there.
    """
    model = _bundle(bundle)
    # Here, since what reads HDF5 is an extra of its own.
    try:
        from slidekin_server import released  # noqa: PLC0415
    except ImportError as error:
        _fail(
            f"import-sish needs a package that is not installed ({error}): install slidekin[sish]"
        )
    try:
        site = released.read_facts(labels, patient_pattern)
        names = released.FieldNames(slide_field, label_field, patient_field)
        size_bytes = meta.stat().st_size if meta.is_file() else 0
        with typer.progressbar(length=size_bytes, label=meta.name) as bar:
            release = released.open_release(
                latent, meta, names, lambda read: bar.update(read - bar.pos)
            )
            bar.update(size_bytes - bar.pos)
        _introduce(release, site)
        with (
            dialled(
                server, ca_file=ca_file, certificate_file=certificate_file, key_file=key_file
            ) as reached,
            typer.progressbar(length=len(release.slides), label="slides") as bar,
        ):
            service = released.Service(
                reached.channel,
                address=server,
                collection=collection,
                timeout_s=timeout_s,
                metadata=reached.metadata,
            )
            outcome = released.import_release(
                release, model, site, service, lambda _: bar.update(1)
            )
    except (released.ReleaseError, DiallingError) as error:
        _fail(str(error))
    typer.echo(
        f"collections/{collection}: {outcome.added} slides added, {outcome.held} were there, "
        f"{len(outcome.refused)} refused; bound to the model {model.fingerprint}"
    )
    _list("held under another label, which stays", outcome.relabelled)
    _list("refused", outcome.refused)
    if outcome.refused:
        raise typer.Exit(1)


def _introduce(release: released.Release, site: released.FactsFile) -> None:
    """Say what was found, and what the user may have forgotten."""
    typer.echo(
        f"{len(release.slides)} slides with {release.patch_count()} patches in the published index"
        + (f"; {release.unused} slides of LATENT are not in it" if release.unused else "")
    )
    known = [release.facts(slide, site) for slide in release.slides]
    unlabelled = sum(not facts.label for facts in known)
    ownerless = sum(not facts.patient_id for facts in known)
    if unlabelled or ownerless:
        typer.echo(
            f"{unlabelled} slides have no label, {ownerless} no patient: see --labels, "
            "--label-field, --patient-field and --patient-pattern. The patches of META have the "
            f"fields {', '.join(release.fields)}",
            err=True,
        )
    if not release.ordered:
        typer.echo(
            "META lists slides in turns under some keys: no order of slides gives its order of "
            "patches, and of equally near patches another may be found than the published one",
            err=True,
        )


def _bundle(folder: Path) -> ModelBundle:
    try:
        return load_bundle(folder, allow_random_weights=False)
    except BundleError as error:
        _fail(str(error))


def _list(title: str, lines: list[str]) -> None:
    for line in lines[:_SHOWN]:
        typer.echo(f"{title}: {line}", err=True)
    if len(lines) > _SHOWN:
        typer.echo(f"{title}: {len(lines) - _SHOWN} more", err=True)


def _fail(problem: str) -> NoReturn:
    typer.echo(problem, err=True)
    raise typer.Exit(1)
