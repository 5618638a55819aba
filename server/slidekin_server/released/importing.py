"""A release, slide by slide, into a collection."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slidekin_server.bundle import ModelBundle
from slidekin_server.released.errors import ReleaseError, SlideRefusedError
from slidekin_server.released.facts import FactsFile, SlideRow
from slidekin_server.released.latent import (
    SlideFiles,
    digest_files,
    find_slides,
    opened,
    read_slide,
)
from slidekin_server.released.matching import check_equal, insertion_order
from slidekin_server.released.meta import FieldNames, MetaFacts, read_meta
from slidekin_server.released.service import Service
from slidekin_server.released.values import TEXTURE_BITS
from slidekin_server.values import PatchCodes

_TEXTURE_NETWORK = "densenet121"


@dataclass(frozen=True, slots=True, eq=False)
class Release:
    """What was released, read as far as its slides' own files."""

    slides: tuple[str, ...]
    """Of the published index, in the order in which they are to be added."""
    ordered: bool
    """Adding them one by one in that order gives the published order under every key."""
    fields: tuple[str, ...]
    """What meta.pkl says of a patch, for people."""
    unused: int
    """Slides of LATENT that the published index does not hold."""
    _files: Mapping[str, SlideFiles]
    _published: Mapping[str, PatchCodes]
    _facts: Mapping[str, MetaFacts]

    def patch_count(self) -> int:
        """Return the number of patches in the published index."""
        return sum(len(patches) for patches in self._published.values())

    def files(self, slide: str) -> SlideFiles:
        """Return a slide's files.

        Raises:
            SlideRefusedError: LATENT has none.
        """
        if slide not in self._files:
            raise SlideRefusedError(
                f"{slide}: meta.pkl names it and LATENT has no {slide}.h5 of it"
            )
        return self._files[slide]

    def facts(self, slide: str, site: FactsFile) -> SlideRow:
        """Return label, patient and attributes of a slide."""
        return site.of(slide, self._facts[slide])

    def digest(self, slide: str) -> str:
        """Return a SHA-256 (hex) of all that the release says of a slide's patches.

        Raises:
            SlideRefusedError: Its files cannot be read.
        """
        digest = hashlib.sha256(digest_files(self.files(slide)))
        published = self._published[slide]
        for column in (published.keys, published.textures, published.xy):
            digest.update(column.tobytes())
        return digest.hexdigest()

    def patches(self, slide: str, bundle: ModelBundle) -> PatchCodes:
        """Return a slide's patches, read from LATENT and found equal to the published index.

        Raises:
            SlideRefusedError: Its files are damaged, or differ from meta.pkl.
        """
        patches = read_slide(self.files(slide), bundle.semantic_order)
        check_equal(slide, patches, self._published[slide])
        return patches


@dataclass(slots=True)
class Outcome:
    """What became of the slides."""

    added: int = 0
    held: int = 0
    """Were held already, with the same content."""
    refused: list[str] = field(default_factory=list)
    """Why each of the others is not there."""
    relabelled: list[str] = field(default_factory=list)
    """Held already, under another label, which stays."""


def open_release(
    latent: Path,
    meta: Path,
    names: FieldNames,
    watch: Callable[[int], None] = lambda _: None,
) -> Release:
    """Read the list of slides and the published index.

    Args:
        latent: The folder LATENT.
        meta: The file ``index_meta/meta.pkl``.
        names: Fields of a patch that the caller names.
        watch: Told how many bytes of ``meta`` were read, now and then.

    Raises:
        ReleaseError: A file is missing, damaged, or does not say clearly what it holds.
    """
    files = find_slides(latent)
    with opened(meta.resolve()) as file:
        published = read_meta(file, str(meta), names, files.keys(), watch)
    slides, ordered = insertion_order(published)
    return Release(
        slides=tuple(slides),
        ordered=ordered,
        fields=published.fields,
        unused=len(files.keys() - set(slides)),
        _files=files,
        _published=published.patches_by_slide(),
        _facts=published.facts,
    )


def import_release(
    release: Release,
    bundle: ModelBundle,
    site: FactsFile,
    service: Service,
    watch: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Add every slide that is not there; one that is refused does not stop the others.

    Args:
        release: What was released.
        bundle: The model that made it.
        site: What the site knows of the slides.
        service: Where they go.
        watch: Told each slide's name when it is done.

    Raises:
        ReleaseError: The bundle is of other networks, the collection of another model, or the
            service cannot be asked.
    """
    check_bundle(bundle)
    service.create_collection(bundle, "Imported from files of the published SISH program")
    held = service.held()
    outcome = Outcome()
    for slide in release.slides:
        try:
            facts, digest = release.facts(slide, site), release.digest(slide)
            there = held.get(slide)
            if there is not None and (there.source_digest, there.patient_id) == (
                digest,
                facts.patient_id,
            ):
                new = False
            else:
                new = service.add(
                    slide,
                    release.patches(slide, bundle),
                    facts,
                    digest=digest,
                    fingerprint=bundle.fingerprint,
                )
            outcome.added += new
            outcome.held += not new
            if there is not None and there.label != facts.label:
                outcome.relabelled.append(f"{slide}: {there.label!r}, not {facts.label!r}")
        except SlideRefusedError as error:
            outcome.refused.append(str(error))
        watch(slide)
    return outcome


def check_bundle(bundle: ModelBundle) -> None:
    """Check that the bundle's networks are of the published kind.

    Raises:
        ReleaseError: They are not.
    """
    texture = next(network for network in bundle.networks if network.role == "texture")
    if texture.architecture != _TEXTURE_NETWORK or bundle.texture_bits != TEXTURE_BITS:
        raise ReleaseError(
            f"{bundle.folder} has the texture network {texture.name} ({texture.architecture}, "
            f"{bundle.texture_bits} bits); the release was made with DenseNet-121: import its "
            "weights and build a bundle with them"
        )
