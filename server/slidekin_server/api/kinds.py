"""Which kind of work each method brings, by the methods' full names."""

from __future__ import annotations

from typing import Final

from slidekin_server.api.permissions import RULES


def _methods(*names: str) -> frozenset[str]:
    methods = frozenset(f"/slidekin.v1.{name}" for name in names)
    assert methods <= RULES.keys(), f"the contract lacks {sorted(methods - RULES.keys())}"
    return methods


BULK: Final = _methods(
    "AdminService/CheckSnapshot",
    "AdminService/CreateSnapshot",
    "CollectionService/FinishReindex",
    "CollectionService/StartReindex",
    "SlideService/AddSlide",
    "SlideService/ExportSlides",
)
"""Work that nobody watches: it lets interactive calls go first."""

SEARCHES: Final = _methods(
    "SearchService/SearchPatches",
    "SearchService/SearchSlide",
    "SearchService/SearchStoredSlide",
)
"""Search threads work for these."""

BRING_PATCHES: Final = _methods(
    "SearchService/SearchPatches",
    "SearchService/SearchSlide",
    "SlideService/AddSlide",
)
"""Images may come with these."""
