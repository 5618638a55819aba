"""Ranking: from the bags of a query's patches to slides, with labels or without."""

from __future__ import annotations

from slidekin_server.ranking.labels import SlideLabels
from slidekin_server.ranking.ranking import rank
from slidekin_server.ranking.values import (
    EmptiedBy,
    EvidencePair,
    RankedSlide,
    Ranking,
    RankingMethod,
)
from slidekin_server.ranking.warm import warm_up

__all__ = [
    "EmptiedBy",
    "EvidencePair",
    "RankedSlide",
    "Ranking",
    "RankingMethod",
    "SlideLabels",
    "rank",
    "warm_up",
]
