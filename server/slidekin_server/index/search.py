"""The search modes: from one query patch to one bag."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from slidekin_server.index.admitted import Admitted
from slidekin_server.index.errors import ParameterError
from slidekin_server.index.parameters import GuidedParameters
from slidekin_server.index.snapshot import IndexSnapshot
from slidekin_server.values import Bag, SearchMode


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How a query's patches are searched; the defaults are those of the profile ``default``.

    Raises:
        ParameterError: A field is out of range.
    """

    mode: SearchMode = SearchMode.HYBRID
    """Which search is used; HYBRID uses the exact scan if the guided walk finds too few hits."""
    guided: GuidedParameters = field(
        default_factory=lambda: GuidedParameters(include_seed_key=True)
    )
    """Parameters of the guided walk (GUIDED, HYBRID)."""
    min_hits: int = 1
    """HYBRID: a guided bag with fewer hits is replaced by an exact one. >= 0; 0: never."""
    exact_limit: int = 100
    """Most hits per patch in an exact bag (EXACT, HYBRID). >= 1."""
    exact_max_distance_bits: int | None = None
    """Largest distance of a hit in an exact bag; None for no bound."""

    def __post_init__(self) -> None:
        if self.min_hits < 0:
            raise ParameterError("min_hits", "must not be negative")
        if self.exact_limit < 1:
            raise ParameterError("exact_limit", "must be at least 1")
        if self.exact_max_distance_bits is not None and self.exact_max_distance_bits < 0:
            raise ParameterError("exact_max_distance_bits", "must not be negative")


def search_patch(
    snapshot: IndexSnapshot,
    key: int,
    texture: NDArray[np.uint8],
    options: SearchOptions,
    admitted: Admitted | None = None,
) -> Bag:
    """Search one patch; releases the GIL.

    Args:
        snapshot: The version to search; the same for all patches of a query.
        key: The query's key.
        texture: Shape (texture_bits // 8,).
        options: Mode and parameters.
        admitted: The slides that may be found, the same object for all patches; None for all.

    Returns:
        The bag. Its ``mode`` says which search made it: in HYBRID an exact bag replaces a guided
        one with fewer than ``min_hits`` hits.

    Raises:
        ParameterError: The key or the texture does not fit.
    """
    if options.mode is not SearchMode.EXACT:
        bag = snapshot.guided(key, texture, options.guided, admitted)
        if options.mode is SearchMode.GUIDED or len(bag) >= options.min_hits:
            return bag
    return snapshot.exact(
        texture[np.newaxis],
        limit=options.exact_limit,
        max_distance_bits=options.exact_max_distance_bits,
        admitted=admitted,
    )[0]


def exact_bags(
    snapshot: IndexSnapshot,
    textures: NDArray[np.uint8],
    *,
    slides_wanted: int,
    admitted: Admitted | None = None,
    threads: int = 1,
) -> list[Bag]:
    """Search all patches of a query exactly, so that enough slides are found.

    HYBRID uses this if the ranking of its bags has fewer slides than requested. Each bag holds the
    nearest patch of each of the nearest slides. Together the bags name ``slides_wanted`` slides, if
    that many (with patches) are admitted.

    Args:
        snapshot: The version to search.
        textures: Shape (n, texture_bits // 8), n >= 1.
        slides_wanted: Slides to find. >= 1.
        admitted: The slides that may be found; None for all.
        threads: Number of threads for the scan. >= 1.

    Raises:
        ParameterError: An argument does not fit.
    """
    return snapshot.exact(
        textures, limit=slides_wanted, admitted=admitted, best_per_slide=True, threads=threads
    )
