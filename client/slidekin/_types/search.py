"""What is searched with, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from slidekin._types.slides import SlideFilter

SearchMode = Literal["auto", "guided", "exact", "hybrid"]
"""How patches are looked for: SISH's walk, a full scan, or the walk helped out by the scan."""
RankingMethod = Literal["auto", "uncertainty", "label-free"]
"""How slides are ranked. ``auto``: ``uncertainty`` where the collection has labels."""
RankingFallback = Literal["auto", "none", "label-free"]
"""What to do where ``uncertainty`` leaves fewer than k. ``auto``: as the profile says."""


@dataclass(frozen=True, slots=True)
class GuidedParameters:
    """Parameters of the guided walk. None: the profile's value."""

    seed_spacing: int | None = None
    """Distance between seeds in units of 10^11 of the key (SISH: 50)."""
    seeds_per_side: int | None = None
    """Seeds on each side of the query's key (SISH: 10)."""
    successor_steps: int | None = None
    """Steps towards greater keys (SISH: 375)."""
    predecessor_steps: int | None = None
    """Steps towards smaller keys (SISH: 375)."""
    include_seed_key: bool | None = None
    """Look at a seed's own key too."""


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What is wanted of a search. None: the service's default."""

    k: int = 5
    """Slides to return."""
    mode: SearchMode = "auto"
    """How patches are looked for. ``auto``: as the profile does (``default``: hybrid,
    ``sish-2022``: guided)."""
    profile: str = "default"
    """``default`` or ``sish-2022``, the published program to the last bit."""
    filter: SlideFilter = field(default_factory=SlideFilter)
    """Which slides are admitted."""
    hamming_threshold_bits: int | None = None
    """Greatest distance of a hit. None: the collection's."""
    guided: GuidedParameters = field(default_factory=GuidedParameters)
    """Parameters of the guided walk."""
    ranking: RankingMethod = "auto"
    """How slides are ranked."""
    fallback: RankingFallback = "auto"
    """What to do where that leaves too few."""
    label_weight_sum: float | None = None
    """Sum of the label weights (SISH: 10; 30 for anatomic sites). None: 10."""
    max_hits_per_patch: int | None = None
    """Hits returned of each patch. None: 10. 0: none."""
    max_evidence_per_slide: int | None = None
    """Matched pairs returned with each slide. None: 3. At most 1000, and 100,000 in all."""
    include_ranking_details: bool = False
    """Return how the ranking came about."""


@dataclass(frozen=True, slots=True)
class Query:
    """What was searched with, as far as the client knows it."""

    slide_id: str = ""
    """The query's id; empty for bare codes."""
    positions: tuple[tuple[int, int], ...] = ()
    """Top-left corners of the query patches in level-0 pixels, in order."""
    width_px: int = 0
    """Width of level 0. 0: unknown."""
    height_px: int = 0
    """Height of level 0. 0: unknown."""
    mpp: float = 0.0
    """Micrometres per pixel of level 0. 0: unknown."""
    patch_size_px: int = 0
    """Edge of a patch in level-0 pixels. 0: unknown."""
    mosaic_profile: str = ""
    """Profile that picked the patches; empty: not picked here."""
    region: tuple[int, int, int, int] | None = None
    """x, y, width, height of the part that was searched with; None: the whole slide."""
    thumbnail: bytes | None = field(default=None, repr=False)
    """JPEG of the whole slide."""
    patch_thumbnails: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    """JPEGs of the query patches by index."""
