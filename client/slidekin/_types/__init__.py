"""The values that the SDK takes and returns: frozen, typed, free of generated code."""

from __future__ import annotations

from slidekin._types.collections import Collection, Reindex
from slidekin._types.connection import Retry, Timeouts, Tls
from slidekin._types.patches import Codes, ImageFormat, ImagePatch
from slidekin._types.results import (
    Evidence,
    Hit,
    PatchHits,
    PatchSearchResult,
    RankedSlide,
    RankingDetails,
    SearchResult,
    Timings,
)
from slidekin._types.search import (
    GuidedParameters,
    Query,
    RankingFallback,
    RankingMethod,
    SearchMode,
    SearchOptions,
)
from slidekin._types.service import (
    EncoderState,
    Limits,
    Model,
    Network,
    ServedModel,
    Snapshot,
    Status,
)
from slidekin._types.slides import (
    AddedSlide,
    ExportedSlide,
    PatchFormat,
    Slide,
    SlideFilter,
    SlideSource,
    Thumbnails,
)

__all__ = [
    "AddedSlide",
    "Codes",
    "Collection",
    "EncoderState",
    "Evidence",
    "ExportedSlide",
    "GuidedParameters",
    "Hit",
    "ImageFormat",
    "ImagePatch",
    "Limits",
    "Model",
    "Network",
    "PatchFormat",
    "PatchHits",
    "PatchSearchResult",
    "Query",
    "RankedSlide",
    "RankingDetails",
    "RankingFallback",
    "RankingMethod",
    "Reindex",
    "Retry",
    "SearchMode",
    "SearchOptions",
    "SearchResult",
    "ServedModel",
    "Slide",
    "SlideFilter",
    "SlideSource",
    "Snapshot",
    "Status",
    "Thumbnails",
    "Timeouts",
    "Timings",
    "Tls",
]
