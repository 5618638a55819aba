"""Collections, and their change to another model."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Collection:
    """A set of slides that is searched together."""

    name: str
    """``collections/{collection}``."""
    display_name: str = ""
    """Name for people."""
    description: str = ""
    """What it holds."""
    model_fingerprint: str = ""
    """Fingerprint of the model whose codes it holds."""
    texture_bits: int = 0
    """Bits of a texture."""
    hamming_threshold_bits: int = 0
    """Distance up to which two textures count as alike."""
    slide_count: int = 0
    """Slides held."""
    patch_count: int = 0
    """Patches held."""
    index_version: int = 0
    """Grows with every change; counted anew from each start of the service."""
    create_time: dt.datetime | None = None
    """When it was created (UTC)."""
    reindex_model_fingerprint: str = ""
    """Model that a reindex under way gives it; empty: there is none."""

    @property
    def collection_id(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Reindex:
    """A collection on its way to another model."""

    collection: str
    """``collections/{collection}``."""
    model_fingerprint: str
    """Model that it is to have."""
    texture_bits: int
    """Bits of a texture of that model."""
    hamming_threshold_bits: int
    """Distance up to which two textures will count as alike."""
    done_slide_count: int
    """Slides that are encoded anew."""
    pending_slide_count: int
    """Slides that are not."""
    create_time: dt.datetime | None
    """When it was started (UTC)."""
    damaged_slides: tuple[str, ...]
    """Full names of the first hundred slides that are damaged on the service's disk: they cannot be
    encoded anew. Add them again with ``replace``, delete them, or drop them at the end."""
