"""Random databases for property tests: many duplicates, dense and sparse keys, several blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from tests.oracle import OracleHit, OracleIndex, OraclePatch, bits_of

from slidekin_server.index import GuidedParameters
from slidekin_server.values import Bag, PatchCodes

TEXTURE_BITS = 128
MAX_KEY = 2**63 - 1


@dataclass(frozen=True)
class KeyShape:
    """Where the keys of a database lie."""

    name: str

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        if self.name == "dense":
            return rng.integers(0, 400, count)
        if self.name == "duplicates":
            return rng.integers(0, 12, count) * 10**11
        if self.name == "sparse":
            return rng.integers(0, 8 * 10**14, count)
        if self.name == "clustered":
            return rng.integers(1, 9, count) * 10**12 + rng.integers(0, 60, count)
        edges = [0, 1, 2**32, 2**62, MAX_KEY - 10**11, MAX_KEY - 1, MAX_KEY]
        return rng.choice(np.array(edges), count)


SHAPES = st.sampled_from(
    [KeyShape(name) for name in ("dense", "duplicates", "sparse", "clustered", "edges")]
)
SEEDS = st.integers(0, 2**32 - 1)


def make_slide(rng: np.random.Generator, shape: KeyShape, patches: int) -> PatchCodes:
    """Draw a slide; textures lie near one of four patterns, so that some are near each other."""
    patterns = np.random.default_rng(0).integers(0, 256, (4, TEXTURE_BITS // 8), dtype=np.uint8)
    flips = rng.integers(0, 256, (3, patches, TEXTURE_BITS // 8), dtype=np.uint8)
    return PatchCodes(
        keys=shape.draw(rng, patches).astype(np.int64),
        textures=patterns[rng.integers(0, 4, patches)] ^ (flips[0] & flips[1] & flips[2]),
        xy=np.zeros((patches, 2), dtype=np.int32),
    )


@st.composite
def databases(draw: st.DrawFn, most_slides: int = 12) -> list[tuple[int, PatchCodes]]:
    """Draw slides with gaps in their numbers; some have no patches, some fill blocks."""
    rng = np.random.default_rng(draw(SEEDS))
    shape = draw(SHAPES)
    most = draw(st.sampled_from([3, 30, 150]))
    numbers = np.sort(rng.permutation(40)[: draw(st.integers(0, most_slides))])
    return [
        (number, make_slide(rng, shape, int(rng.integers(0, most + 1))))
        for number in numbers.tolist()
    ]


@st.composite
def parameters(draw: st.DrawFn) -> GuidedParameters:
    """Draw parameters that are small enough to matter in small databases."""
    return GuidedParameters(
        C=draw(st.sampled_from([1, 3, 50])),
        T=draw(st.integers(1, 4)),
        successor_steps=draw(st.sampled_from([0, 1, 5, 375])),
        predecessor_steps=draw(st.sampled_from([0, 1, 7, 375])),
        hamming_threshold_bits=draw(st.sampled_from([0, 20, 32, 128])),
        include_seed_key=draw(st.booleans()),
    )


def oracle_of(slides: list[tuple[int, PatchCodes]]) -> OracleIndex:
    """Give the same database to the oracle."""
    return OracleIndex(
        OraclePatch(key, bits_of(codes.textures[patch]), number, patch)
        for number, codes in slides
        for patch, key in enumerate(codes.keys.tolist())
    )


def oracle_arguments(parameters: GuidedParameters) -> dict[str, int]:
    """Spell parameters as the oracle takes them."""
    return {
        "c": parameters.C,
        "t": parameters.T,
        "successor_steps": parameters.successor_steps,
        "predecessor_steps": parameters.predecessor_steps,
        "threshold": parameters.hamming_threshold_bits,
        "include_seed_key": parameters.include_seed_key,
    }


def hits_of(bag: Bag) -> list[OracleHit]:
    """Write a bag as the oracle does."""
    columns = (bag.keys, bag.distances, bag.slides, bag.patches)
    return [OracleHit(*hit) for hit in zip(*(c.tolist() for c in columns), strict=True)]


def queries_for(
    slides: list[tuple[int, PatchCodes]], rng: np.random.Generator
) -> list[tuple[int, np.ndarray]]:
    """Pick queries: members, near members, and far from all."""
    texture = rng.integers(0, 256, TEXTURE_BITS // 8, dtype=np.uint8)
    queries = [(0, texture), (MAX_KEY, texture), (int(rng.integers(0, 9 * 10**14)), texture)]
    for _, codes in slides[:3]:
        if len(codes):
            patch = int(rng.integers(0, len(codes)))
            key = int(codes.keys[patch])
            queries.append((key, codes.textures[patch]))
            queries.append((min(MAX_KEY, key + int(rng.integers(0, 10**11))), texture))
    return queries
