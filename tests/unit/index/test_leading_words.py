"""Comparing leading words first changes no answer, whatever the width and the bound."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from slidekin_server.index import CollectionIndex, GuidedParameters, IndexSnapshot
from slidekin_server.index.memory import leading_words
from slidekin_server.values import PatchCodes

_SLIDES, _PATCHES = 14, 50
_SPACING = 10**12
"""Between keys, of which each has about twelve patches."""
_KEYS = 60


@pytest.fixture(scope="module", params=[64, 128, 1024, 1280])
def bits(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def codes(bits: int) -> list[PatchCodes]:
    """Textures that differ from one another in few bits up to many."""
    rng = np.random.default_rng(bits)
    shape = (_PATCHES, bits // 8)
    pattern = rng.integers(0, 256, bits // 8)
    slides = []
    for _ in range(_SLIDES):
        other = rng.integers(0, 256, shape)
        textures = np.where(rng.random(shape) < rng.random((_PATCHES, 1)), other, pattern)
        keys = rng.integers(0, _KEYS, _PATCHES) * _SPACING
        xy = np.zeros((_PATCHES, 2), np.int32)
        slides.append(PatchCodes(keys, textures.astype(np.uint8), xy))
    return slides


@pytest.fixture(scope="module")
def snapshot(bits: int, codes: list[PatchCodes]) -> IndexSnapshot:
    return CollectionIndex.build(bits, enumerate(codes)).snapshot()


@pytest.fixture(scope="module")
def distances(codes: list[PatchCodes]) -> NDArray[np.int64]:
    """Of every patch from the query, which is the first slide's fourth patch."""
    textures = np.concatenate([slide.textures for slide in codes])
    return np.unpackbits(textures ^ textures[3], axis=1).sum(axis=1, dtype=np.int64)


BOUNDS = [0.0, 0.02, 0.125, 0.4, 1.0, 3.0]
"""Shares of a texture's bits; the last is beyond all that there can be."""


@pytest.mark.parametrize("share", BOUNDS)
def test_the_exact_scan_finds_all_within_any_bound(
    bits: int,
    codes: list[PatchCodes],
    snapshot: IndexSnapshot,
    distances: NDArray[np.int64],
    share: float,
):
    bound = int(share * bits)
    within = np.sort(distances[distances <= bound])
    for limit in (1, 7, 5000):
        (bag,) = snapshot.exact(codes[0].textures[3:4], limit=limit, max_distance_bits=bound)
        assert bag.distances.tolist() == within[:limit].tolist()


@pytest.mark.parametrize("share", BOUNDS)
def test_the_guided_walk_finds_the_best_of_each_key_within_any_threshold(
    bits: int,
    codes: list[PatchCodes],
    snapshot: IndexSnapshot,
    distances: NDArray[np.int64],
    share: float,
):
    threshold = int(share * bits)
    reaching_all = GuidedParameters(
        C=1,
        T=_KEYS,
        successor_steps=_KEYS,
        predecessor_steps=_KEYS,
        hamming_threshold_bits=threshold,
        include_seed_key=True,
    )
    bag = snapshot.guided(_KEYS // 2 * _SPACING, codes[0].textures[3], reaching_all)
    keys = np.concatenate([slide.keys for slide in codes])
    best = {int(key): int(distances[keys == key].min()) for key in np.unique(keys)}
    expected = {key: bits for key, bits in best.items() if bits <= threshold}
    assert dict(zip(bag.keys.tolist(), bag.distances.tolist(), strict=True)) == expected


def test_as_many_words_lead_as_refuse_what_differs_in_half_of_its_bits():
    assert leading_words(16, 128) == 5
    assert leading_words(16, 0) == 1
    assert leading_words(16, 1024) == 16
    assert leading_words(1, 64) == 1
    counts = [leading_words(20, bound) for bound in range(1281)]
    assert counts == sorted(counts)
