"""Ways of finding tiles, judged by the measures that ``slidekin evaluate`` prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tests.bench.tiles.tiles import Tile

from slidekin.evaluation import (
    Answer,
    Estimate,
    EvaluationSettings,
    Found,
    MethodResult,
    PatchHistograms,
    Subject,
    histogram_answers,
    judge,
)
from slidekin_server.codes import keys_from_codes, textures_from_features

COLLECTION = "collections/tiles"
KS = (1, 3, 5)
SETTINGS = EvaluationSettings(ks=KS)
_BITS_OF = np.array([byte.bit_count() for byte in range(256)], dtype=np.uint16)


def subjects(tiles: Sequence[Tile]) -> list[Subject]:
    """A tile whose patient is not known stands for one of its own."""
    return [
        Subject(f"{COLLECTION}/slides/{tile.tile_id}", tile.label, tile.patient) for tile in tiles
    ]


def by_distance(tiles: Sequence[Tile], distances: NDArray[np.floating[Any]]) -> list[Answer]:
    """What each tile finds by a matrix of distances; equally far ones in order of the tiles."""
    asked = subjects(tiles)
    answers = []
    for place, subject in enumerate(asked):
        order = np.argsort(distances[place], kind="stable")
        nearest = order[order != place][: KS[-1]].tolist()
        found = tuple(
            Found(asked[other].name, asked[other].label, float(distances[place, other]))
            for other in nearest
        )
        answers.append(Answer(subject, found))
    return answers


def hellinger(tiles: Sequence[Tile]) -> list[Answer]:
    """The baseline of ``slidekin evaluate``: 3 x 32 bins, Hellinger's distance."""
    made = [PatchHistograms.of([(0, 0)], [Image.fromarray(tile.pixels())]) for tile in tiles]
    return histogram_answers(subjects(tiles), made, KS[-1])


def histogram_l1(tiles: Sequence[Tile]) -> list[Answer]:
    """The same bins of the tiles in their own size, by the sum of absolute differences."""
    rows = []
    for tile in tiles:
        with Image.open(tile.path) as image:
            counts = np.array(image.convert("RGB").histogram(), dtype=np.float64)
        rows.append(counts.reshape(96, 8).sum(axis=1) / counts.sum())
    shares = np.stack(rows)
    return by_distance(tiles, np.abs(shares[:, None] - shares[None]).sum(axis=2))


def cosine(tiles: Sequence[Tile], features: NDArray[np.floating[Any]]) -> list[Answer]:
    """Features by the angle between them."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return by_distance(tiles, 1 - unit @ unit.T)


def hamming(tiles: Sequence[Tile], features: NDArray[np.floating[Any]]) -> list[Answer]:
    """Textures by Hamming distance, all of them looked at."""
    return by_distance(tiles, hamming_distances(textures_from_features(features)))


def keys_alone(
    tiles: Sequence[Tile], codes: NDArray[np.uint8], order: Sequence[int]
) -> list[Answer]:
    """Keys by the difference of their numbers."""
    keys = keys_from_codes(codes, np.array(order)).astype(np.float64)
    return by_distance(tiles, np.abs(keys[:, None] - keys[None]))


def hamming_distances(textures: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Between all pairs, in bits."""
    return np.stack([_BITS_OF[textures ^ one].sum(axis=1).astype(np.int64) for one in textures])


def line(kind: str, name: str, result: MethodResult, **more: Any) -> dict[str, Any]:
    """One method as a line of the run."""
    return {
        "kind": kind,
        "name": name,
        "mMV": {str(s.k): estimate(s.majority_vote.macro) for s in result.scores},
        "mAP": {str(s.k): estimate(s.average_precision.macro) for s in result.scores},
        "overall_mMV": {str(s.k): estimate(s.majority_vote.overall) for s in result.scores},
        "short": estimate(result.scores[-1].short_answers.overall),
        "mMV5_against_histogram": _optional(result.scores[-1].vote_against_baseline),
        "mAP5_against_histogram": _optional(result.scores[-1].precision_against_baseline),
        **more,
    }


def estimate(value: Estimate) -> dict[str, float]:
    return {
        "value": round(value.value, 4),
        "low": round(value.low, 4),
        "high": round(value.high, 4),
    }


def judged(
    answers: Mapping[str, Callable[[], list[Answer]]], baseline: str
) -> dict[str, MethodResult]:
    """Methods asked the same queries, compared with ``baseline`` over the same resamples."""
    made = [(name, make()) for name, make in answers.items()]
    return {result.name: result for result in judge(made, SETTINGS, baseline=baseline)}


def _optional(value: Estimate | None) -> dict[str, float] | None:
    return None if value is None else estimate(value)
