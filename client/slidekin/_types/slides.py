"""Slides: on disk, in a collection, and on their way between the two."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from slidekin._types.patches import Codes

if TYPE_CHECKING:
    from slidekin.slides import MosaicSettings, Region, TissueSettings


PatchFormat = Literal["jpeg", "png", "raw"]
"""How patches that are read from a slide travel."""


@dataclass(frozen=True, slots=True)
class Slide:
    """A slide as a collection knows it."""

    name: str
    """``collections/{collection}/slides/{slide}``."""
    patient_id: str = ""
    """Whose slide it is; empty: not stated."""
    label: str = ""
    """What it shows; empty: not stated."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Further facts to filter by."""
    width_px: int = 0
    """Width of level 0. 0: unknown."""
    height_px: int = 0
    """Height of level 0. 0: unknown."""
    mpp: float = 0.0
    """Micrometres per pixel of level 0. 0: unknown."""
    patch_size_px: int = 0
    """Edge of a patch in level-0 pixels. 0: unknown."""
    source_digest: str = ""
    """SHA-256 (hex) of file and mosaic settings; empty: not stated."""
    content_digest: str = ""
    """SHA-256 (hex) of patches and facts, by the service."""
    patch_count: int = 0
    """Patches held."""
    create_time: dt.datetime | None = None
    """When it was added (UTC)."""

    @property
    def slide_id(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]

    @property
    def collection_id(self) -> str:
        """The collection's part of the name."""
        parts = self.name.split("/")
        return parts[1] if len(parts) > 1 else ""


@dataclass(frozen=True, slots=True)
class SlideFilter:
    """Which slides a search or a listing admits. Every condition that is given must hold."""

    labels: Sequence[str] = ()
    """Labels, any of which is admitted. Empty: all."""
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Attribute to admitted values; no values: it must be present."""
    slides: Sequence[str] = ()
    """Slides (names or ids), any of which is admitted. Empty: all."""
    exclude_patient_ids: Sequence[str] = ()
    """Patients whose slides are left out."""
    exclude_slides: Sequence[str] = ()
    """Slides (names or ids) that are left out."""


@dataclass(frozen=True, slots=True)
class SlideSource:
    """A slide on disk and how to read it."""

    path: str | Path
    """File, or folder of a DICOM slide."""
    slide_id: str | None = None
    """Its id. None: the file's name without suffix."""
    mpp: float | None = None
    """Micrometres per pixel of level 0, where the file does not say or says it wrongly."""
    mosaic: MosaicSettings | str = "default"
    """How patches are picked: settings, or the name of a profile."""
    tissue: TissueSettings | None = None
    """How tissue is told from glass. None: the defaults."""
    region: Region | None = None
    """Only this part. None: the whole slide."""
    patch_format: PatchFormat = "jpeg"
    """How patches travel: ``jpeg`` (quality 95), or without loss as ``png`` or ``raw``."""
    workers: int | None = None
    """Threads that read tiles. None: up to 4."""


@dataclass(frozen=True, slots=True)
class AddedSlide:
    """The answer to an added slide: it is on disk."""

    slide: Slide
    """The slide as it is stored."""
    already_present: bool
    """The collection held this very slide before: nothing was changed."""
    index_version: int
    """Index version from which on searches see it. 0 where the slide was found without asking to
    add it."""


@dataclass(frozen=True, slots=True, eq=False)
class ExportedSlide:
    """One slide of an export."""

    slide: Slide
    """The slide."""
    codes: Codes
    """Its patches in order of insertion."""
    model_fingerprint: str
    """Fingerprint of the model that made the codes."""


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """Pictures kept with a slide."""

    slide: bytes | None
    """JPEG or PNG of the whole slide; None: none kept, or not asked for."""
    patches: Mapping[int, bytes]
    """JPEG or PNG of those of the patches asked for that have one, by index."""
