"""Compile, or load from the cache, all functions that a ranking runs."""

from __future__ import annotations

import numpy as np

from slidekin_server.ranking.labels import SlideLabels
from slidekin_server.ranking.ranking import rank
from slidekin_server.ranking.values import RankingMethod
from slidekin_server.values import Bag, SearchMode


def warm_up() -> None:
    """Run every compiled function once; call it before the service reports that it is ready."""
    one = np.zeros(1, dtype=np.int64)
    bag = Bag(one, one.astype(np.int32), one, one.astype(np.int32), SearchMode.GUIDED)
    for method in (RankingMethod.UNCERTAINTY, RankingMethod.LABEL_FREE):
        rank([bag], SlideLabels.of({0: "label"}), k=1, texture_bits=8, method=method)
