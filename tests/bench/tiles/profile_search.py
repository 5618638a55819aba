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
from slidekin.evaluation import Answer, MethodResult, judge

SPLIT_SEED = 0
MODES = ("hybrid", "guided")
"""The mode of the profile ``default``; and the one that shows what the walk does by itself."""


@dataclass(frozen=True)
class Setting:
    """One setting. The walk is (C, T, steps either way)."""

    order: str
    bits: int
    threshold_percent: float
    walk: tuple[int, int, int]
    seed_key: bool

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
        )

    def changes(self, other: Setting) -> int:
        """Values that differ."""
        return sum(
            a != b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)
        )


WALKS = ((50, 10, 375), (50, 10, 5), (50, 10, 1), (50, 1, 5), (200, 10, 5))
"""The published one looks at every key of a collection this small; the others do not."""
THRESHOLDS_PERCENT = (10.0, 12.5, 15.0, 20.0, 25.0, 35.0)


def grid(orders: Sequence[str], bits: Sequence[int], current: Setting) -> Iterator[Setting]:
    """Every combination; the current threshold is among them."""
    thresholds = sorted({*THRESHOLDS_PERCENT, current.threshold_percent})
    for values in itertools.product(orders, bits, thresholds, WALKS, (True, False)):
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
    collections: dict[tuple[str, int], Coded] = {}
    for order, bits in itertools.product(orders, (width // 4, width // 2, width)):
        coded = Coded.of(encodings.tiles, encodings.codes, orders[order], features, bits)
        collections[order, bits] = coded
        coded.part(first).add_to(client, _collection(order, bits), bits // 8)
    every = list(grid(list(orders), sorted({bits for _, bits in collections}), current))
    for mode in MODES:
        tried: list[tuple[Setting, MethodResult]] = []
        for setting in every:
            collection = _collection(setting.order, setting.bits)
            found, _ = answers(client, collection, mode, setting.options)
            tried += [
                (setting, result)
                for result in judge([("setting", found)], replace(SETTINGS, resamples=1))
            ]
        for setting, result in tried:
            yield {
                "kind": "setting",
                "mode": mode,
                **asdict(setting),
                "mAP5": round(_precision(result), 4),
                "mMV5": round(result.at(5).majority_vote.macro.value, 4),
                "mMV1": round(result.at(1).majority_vote.macro.value, 4),
            }
        best = max(_precision(result) for _, result in tried)
        equals = [setting for setting, result in tried if _precision(result) >= best - 1e-12]
        chosen = min(equals, key=lambda setting: setting.changes(current))
        yield {
            "kind": "chosen",
            "name": "chosen on the first half",
            "mode": mode,
            **asdict(chosen),
            "mAP5_first": round(best, 4),
            "equals": len(equals),
            "tried": len(tried),
        }
        yield from _judge_both(client, collections, halves, current, chosen, mode)


def _precision(result: MethodResult) -> float:
    return result.at(5).average_precision.macro.value


NARROW = (200, 10, 5)
WIDE_PERCENT = 25.0


def search_parts(
    client: Client, coded: Coded, which: str, current: Setting
) -> Iterator[dict[str, Any]]:
    """What the parts of the chosen setting do by themselves, in HYBRID, on a whole set of tiles."""
    collection = f"parts-{which}"
    coded.add_to(client, collection, coded.bits // 8)
    spacing, seeds, steps = NARROW
    settings = {
        "current": current,
        "threshold 25 %": replace(current, threshold_percent=WIDE_PERCENT),
        "walk 200, 10, 5": replace(current, walk=NARROW),
        "both": replace(current, threshold_percent=WIDE_PERCENT, walk=NARROW),
        "both, 10 steps": replace(
            current, threshold_percent=WIDE_PERCENT, walk=(spacing, seeds, 2 * steps)
        ),
        "both, 375 steps": replace(
            current, threshold_percent=WIDE_PERCENT, walk=(spacing, seeds, 375)
        ),
    }
    methods = [
        (name, answers(client, collection, "hybrid", setting.options)[0])
        for name, setting in settings.items()
    ]
    for result in judge(methods, SETTINGS, baseline="current"):
        scores = result.at(5)
        difference = scores.precision_against_baseline
        yield {
            "kind": "part",
            "name": result.name,
            "tiles": which,
            "queries": len(coded.tiles),
            "mMV5": estimate(scores.majority_vote.macro),
            "mAP5": estimate(scores.average_precision.macro),
            "mAP5_against_current": None if difference is None else estimate(difference),
        }


def _judge_both(  # noqa: PLR0917 - the parts of one comparison
    client: Client,
    collections: Mapping[tuple[str, int], Coded],
    halves: tuple[list[int], list[int]],
    current: Setting,
    chosen: Setting,
    mode: str,
) -> Iterator[dict[str, Any]]:
    """Current, chosen and histogram on each half, with the differences from the current one."""
    for name, places in (("first", halves[0]), ("second", halves[1])):
        methods: list[tuple[str, list[Answer]]] = []
        for which, setting in (("current", current), ("chosen", chosen)):
            coded = collections[setting.order, setting.bits]
            collection = f"{name}-judged-{mode}-{which}"
            coded.part(places).add_to(client, collection, coded.bits // 8)
            found, _ = answers(client, collection, mode, setting.options)
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
                "mode": mode,
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
