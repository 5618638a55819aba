"""The values that go into the store and come out of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from slidekin_server.values import PatchCodes

_DRAFT = ".draft."
"""Begins the names of drafts; a caller's collection begins with a letter or a digit."""


def draft_name(collection: str) -> str:
    """Name of a collection's draft: its slides encoded anew, until they take its place.

    A draft is a collection to the store, but for this: it never holds a slide that its collection
    does not hold, so that what is deleted or replaced there is deleted from it in the same step.
    """
    return _DRAFT + collection


def drafted_collection(name: str) -> str | None:
    """Name of the collection that a draft is of; None where this names no draft."""
    return name.removeprefix(_DRAFT) if name.startswith(_DRAFT) else None


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """A set of slides that is searched together."""

    name: str
    fingerprint: str
    """Fingerprint of the model whose codes it holds."""
    texture_bits: int
    hamming_threshold_bits: int
    display_name: str = ""
    description: str = ""
    create_time: datetime | None = None
    """UTC. Set by the store."""


@dataclass(frozen=True, slots=True)
class SlideFacts:
    """What a caller states about a slide."""

    slide_id: str
    """Its name, unique in its collection."""
    patient_id: str = ""
    label: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    width_px: int = 0
    height_px: int = 0
    mpp: float = 0.0
    """Micrometres per pixel at level 0; 0: unknown."""
    patch_size_px: int = 0
    """Edge of a patch in level-0 pixels; 0: unknown."""
    source_digest: str = ""
    """SHA-256 (hex) of the slide's file, as stated by the client."""


@dataclass(frozen=True, slots=True)
class SlideRecord:
    """A slide as it is held, without its arrays."""

    number: int
    """Names the slide in the index. Grows with every slide added, never used twice."""
    collection: str
    facts: SlideFacts
    content_digest: str
    """See `content_digest`."""
    patch_count: int
    create_time: datetime
    """UTC."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredSlide:
    """A slide as it is held, with all that the index keeps of it."""

    record: SlideRecord
    codes: PatchCodes
    """Read-only arrays."""


@dataclass(frozen=True, slots=True)
class AddedSlide:
    """Outcome of adding a slide."""

    record: SlideRecord
    replaced: SlideRecord | None
    """The slide of the same name that is gone."""


class PictureFormat(enum.Enum):
    """How a picture is encoded."""

    JPEG = "jpeg"
    PNG = "png"


@dataclass(frozen=True, slots=True)
class Picture:
    """A small picture for people to look at."""

    format: PictureFormat
    data: bytes


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures kept with a slide."""

    slide: Picture | None = None
    patches: Mapping[int, Picture] = field(default_factory=dict)
    """By index of the patch; not every patch needs one."""


NO_PICTURES = Pictures()


class ChangeKind(enum.Enum):
    """What a change did."""

    COLLECTION_CREATED = "collection_created"
    COLLECTION_UPDATED = "collection_updated"
    COLLECTION_DELETED = "collection_deleted"
    SLIDE_ADDED = "slide_added"
    SLIDE_UPDATED = "slide_updated"
    SLIDE_DELETED = "slide_deleted"


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the change log. It names slides by number: nothing in it is patient data."""

    sequence: int
    """Grows by at least one with every change."""
    kind: ChangeKind
    collection: str
    slide_number: int | None
