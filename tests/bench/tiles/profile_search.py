"""The setting of the profile ``default`` that is best on half of the tiles, judged on the other.

Everything is asked of a real service. What was chosen, and by which rule, is written down before
the other half is looked at: the greatest macro mAP@5; among equals the one that changes least.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.bench.tiles.methods import SETTINGS, estimate, hellinger
from tests.bench.tiles.service import Coded, answers
from tests.bench.tiles.tiles import Tile

from slidekin import Client, GuidedParameters, SearchOptions
from slidekin.evaluation import Answer, judge

SPLIT_SEED = 0
MODE = "hybrid"
"""Of the profile ``default``."""


@dataclass(frozen=True)
class Setting:
    """One setting. The walk is (C, T, steps either way)."""

    order: str
    bits: int
    threshold_percent: float
    walk: tuple[int, int, int]
    seed_key: bool
    ranking: str

    @property
    def options(self) -> SearchOptions:
        spacing, seeds, steps = self.walk
        return SearchOptions(
            hamming_threshold_bits=round(self.bits * self.threshold_percent / 100),
            guided=GuidedParameters(
                seed_spacing=spacing,
                seeds_per_side=seeds,
                successor_steps=steps,
                predecessor_steps=steps,
                include_seed_key=self.seed_key,
            ),
            ranking=self.ranking,  # type: ignore[arg-type]
        )

    def changes(self, other: Setting) -> int:
        """Values that differ."""
        return sum(
            a != b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)
        )


WALKS = ((50, 10, 375), (50, 10, 5), (50, 10, 1), (50, 1, 5), (200, 10, 5))
"""The published one looks at every key of a collection this small; the others do not."""
THRESHOLDS_PERCENT = (10.0, 12.5, 15.0, 20.0, 25.0, 35.0)
RANKINGS = ("auto", "label-free")


def grid(orders: Sequence[str], bits: Sequence[int], current: Setting) -> Iterator[Setting]:
    """Every combination; the current threshold is among them."""
    thresholds = sorted({*THRESHOLDS_PERCENT, current.threshold_percent})
    for values in itertools.product(orders, bits, thresholds, WALKS, (True, False), RANKINGS):
        yield Setting(*values)


@dataclass(frozen=True)
class Encodings:
    """What the networks say of the tiles."""

    tiles: Sequence[Tile]
    codes: NDArray[np.uint8]
    orders: Mapping[str, Sequence[int]]
    features: NDArray[np.float32]


def search_profile(
    client: Client,
    encodings: Encodings,
    halves: tuple[list[int], list[int]],
    *,
    current: Setting,
) -> Iterator[dict[str, Any]]:
    """Lines: every setting on the first half, then current and chosen one on the second."""
    first, _ = halves
    orders, features = encodings.orders, encodings.features
    width = features.shape[1]
    tried = []
    collections: dict[tuple[str, int], Coded] = {}
    for order, bits in itertools.product(orders, (width // 4, width // 2, width)):
        coded = Coded.of(encodings.tiles, encodings.codes, orders[order], features, bits)
        collections[order, bits] = coded
        coded.part(first).add_to(client, _collection(order, bits), bits // 8)
    every_bits = sorted({bits for _, bits in collections})
    for setting in grid(list(orders), every_bits, current):
        found, _ = answers(client, _collection(setting.order, setting.bits), MODE, setting.options)
        (result,) = judge([("setting", found)], replace(SETTINGS, resamples=1))
        tried.append((setting, result.at(5), result.at(1)))
    best = max(scores.average_precision.macro.value for _, scores, _ in tried)
    for setting, scores, first_only in tried:
        yield {
            "kind": "setting",
            "name": "tried on the first half",
            **asdict(setting),
            "mAP5": round(scores.average_precision.macro.value, 4),
            "mMV5": round(scores.majority_vote.macro.value, 4),
            "mMV1": round(first_only.majority_vote.macro.value, 4),
        }
    equals = [s for s, scores, _ in tried if scores.average_precision.macro.value >= best - 1e-12]
    chosen = min(equals, key=lambda setting: setting.changes(current))
    yield {
        "kind": "chosen",
        "name": "chosen on the first half",
        **asdict(chosen),
        "mAP5_first": round(best, 4),
        "equals": len(equals),
        "tried": len(tried),
    }
    yield from _judge_both(client, collections, halves, current, chosen)


def _judge_both(
    client: Client,
    collections: Mapping[tuple[str, int], Coded],
    halves: tuple[list[int], list[int]],
    current: Setting,
    chosen: Setting,
) -> Iterator[dict[str, Any]]:
    """Current, chosen and histogram on each half, with the differences from the current one."""
    for name, places in (("first", halves[0]), ("second", halves[1])):
        methods: list[tuple[str, list[Answer]]] = []
        for which, setting in (("current", current), ("chosen", chosen)):
            coded = collections[setting.order, setting.bits]
            collection = f"{name}-judged-{which}"
            coded.part(places).add_to(client, collection, coded.bits // 8)
            found, _ = answers(client, collection, MODE, setting.options)
            methods.append((which, renamed(found)))
        part = [collections[current.order, current.bits].tiles[place] for place in places]
        methods.append(("histogram", renamed(hellinger(part))))
        for result in judge(methods, SETTINGS, baseline="current"):
            scores = result.at(5)
            difference = scores.precision_against_baseline
            votes = scores.vote_against_baseline
            yield {
                "kind": "half",
                "name": result.name,
                "half": name,
                "queries": len(places),
                "mMV": {str(s.k): estimate(s.majority_vote.macro) for s in result.scores},
                "mAP": {str(s.k): estimate(s.average_precision.macro) for s in result.scores},
                "mAP5_against_current": None if difference is None else estimate(difference),
                "mMV5_against_current": None if votes is None else estimate(votes),
            }


def _collection(order: str, bits: int) -> str:
    return f"first-{order.replace(' ', '-')}-{bits}"


def renamed(given: Sequence[Answer]) -> list[Answer]:
    """Subjects without the collection they were asked in, so that methods can be compared."""
    return [
        replace(answer, subject=replace(answer.subject, name=f"tiles/{answer.subject.slide_id}"))
        for answer in given
    ]
