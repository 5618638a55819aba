"""The values that go into the store and come out of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from slidekin_server.values import PatchCodes

_DRAFT = ".draft."
"""The names of drafts begin with this; those of collections begin with a letter or a digit."""


def draft_name(collection: str) -> str:
    """Name of a collection's draft: its slides encoded anew, until they replace the old ones.

    The store treats a draft as a collection, with one exception: a draft never holds a slide that
    its collection does not hold. A slide that is deleted or replaced in the collection is deleted
    from the draft in the same step.
    """
    return _DRAFT + collection


def drafted_collection(name: str) -> str | None:
    """Name of the collection that a draft belongs to; None if the name is not that of a draft."""
    return name.removeprefix(_DRAFT) if name.startswith(_DRAFT) else None


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """A set of slides that are searched together."""

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
    """The facts that a caller states about a slide."""

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
    """SHA-256 (hex) of the slide's file, stated by the client."""


@dataclass(frozen=True, slots=True)
class SlideRecord:
    """A stored slide, without its arrays."""

    number: int
    """Identifies the slide in the index. Grows with every slide added, never used twice."""
    collection: str
    facts: SlideFacts
    content_digest: str
    """See `content_digest`."""
    patch_count: int
    create_time: datetime
    """UTC."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredSlide:
    """A stored slide, with everything that the index needs."""

    record: SlideRecord
    codes: PatchCodes
    """Read-only arrays."""


@dataclass(frozen=True, slots=True)
class AddedSlide:
    """The outcome of adding a slide."""

    record: SlideRecord
    replaced: SlideRecord | None
    """The slide of the same name that was replaced."""


class PictureFormat(enum.Enum):
    """The encoding of a picture."""

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
    """By index of the patch; a patch need not have one."""


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
    """One entry of the change log. It names slides by number and holds no patient data."""

    sequence: int
    """Grows by at least one with every change."""
    kind: ChangeKind
    collection: str
    slide_number: int | None
