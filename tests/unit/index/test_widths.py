"""Textures of every width: built in bulk, added, removed and copied, each distance looked at."""

from __future__ import annotations

import numpy as np
import pytest

from slidekin_server.index import Admitted, CollectionIndex, GuidedParameters
from slidekin_server.values import PatchCodes

PATCHES = 75
"""A slide: no multiple of the eight patches whose textures stand together."""


def drawn(rng: np.random.Generator, bits: int) -> PatchCodes:
    return PatchCodes(
        keys=rng.integers(0, 40, PATCHES),
        textures=rng.integers(0, 256, (PATCHES, bits // 8), dtype=np.uint8),
        xy=np.zeros((PATCHES, 2), dtype=np.int32),
    )


def distances(codes: PatchCodes, texture: np.ndarray) -> np.ndarray:
    return np.bitwise_count(codes.textures ^ texture).sum(axis=1, dtype=np.int64)


@pytest.mark.parametrize("bits", [64, 128, 192, 320, 512, 768, 1024, 1088, 1280, 2048])
def test_every_distance_is_that_of_the_textures_handed_in(bits: int):
    rng = np.random.default_rng(bits)
    slides = {number: drawn(rng, bits) for number in range(6)}
    index = CollectionIndex.build(bits, [(number, slides[number]) for number in range(4)])
    index.add_slide(4, slides[4])
    index.remove_slide(1)
    index.add_slide(5, slides[5])
    del slides[1]
    snapshot = index.snapshot()
    query = rng.integers(0, 256, bits // 8, dtype=np.uint8)
    admitted = Admitted.only([0, 5])
    for held, selection in ((slides, None), ({n: slides[n] for n in (0, 5)}, admitted)):
        (bag,) = snapshot.exact(query[None], limit=10**4, admitted=selection)
        expected = {number: distances(codes, query) for number, codes in held.items()}
        assert len(bag) == PATCHES * len(held)
        assert np.all(np.diff(bag.distances) >= 0)
        for distance, slide, patch in zip(bag.distances, bag.slides, bag.patches, strict=True):
            assert distance == expected[slide][patch]

        walked = snapshot.guided(
            20,
            query,
            GuidedParameters(hamming_threshold_bits=bits, include_seed_key=True),
            selection,
        )
        least: dict[int, int] = {}
        for number, codes in held.items():
            for key, distance in zip(codes.keys.tolist(), expected[number].tolist(), strict=True):
                least[key] = min(distance, least.get(key, bits))
        assert dict(zip(walked.keys.tolist(), walked.distances.tolist(), strict=True)) == least
