"""A synthetic cohort whose keys and textures lie as those of real tissue do.

A slide shows a few tissue patterns, one of them above all. A pattern has a level of codes, hence a
place among the keys, and a texture; both drift with the density of the tissue within the pattern.
A key follows its formula: the sums over 16 x 16 and 32 x 32 codes are four times the next coarser
sum plus what its floor divisions lost. Textures of one pattern differ by flips of the slide (stain,
scanner) and of the patch, so that the threshold of 128 bits accepts a good share of a pattern and
nothing else. Keys repeat where tissue is alike, the more the larger the cohort, and where mosaic
patches overlap.

A slide is drawn from its number alone: a cohort is a prefix of every larger one, and slides beyond
it are queries that look like it.
"""

# ruff: noqa: PLR0917 - compiled functions take columns one by one

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from slidekin_server.values import PatchCodes

SLIDE_PATCHES: Final = 60
TEXTURE_BITS: Final = 1024
PATTERNS: Final = 40
_WORDS: Final = TEXTURE_BITS // 64
_LEVELS: Final = 16
_CHUNK_SLIDES: Final = 1000
_FIRST_QUERY: Final = 2**30


class Cohort:
    """Slides of 60 patches each, the last one of what is left; drawn anew at each iteration."""

    def __init__(self, patches: int, seed: int = 1) -> None:
        self.patches = patches
        self.slide_count = -(-patches // SLIDE_PATCHES)
        self.drawing_s = 0.0
        """Seconds spent on drawing so far, to be taken off what a consumer of slides took."""
        self._seed = seed
        rng = np.random.default_rng(seed)
        self._centres = rng.uniform(1200, 6500, PATTERNS)
        self._slopes = rng.uniform(-150, 150, PATTERNS)
        self._textures = rng.integers(0, 2**63, (PATTERNS, _LEVELS, _WORDS)).astype(np.uint64)
        # From one level of density to the next a hundredth of the bits change.
        for level in range(1, _LEVELS):
            flips = np.packbits(rng.random((PATTERNS, TEXTURE_BITS)) < 0.01, axis=1)
            self._textures[:, level] = self._textures[:, level - 1] ^ flips.view(np.uint64)

    def chunks(self) -> Iterator[tuple[int, PatchCodes]]:
        """Draw many slides at a time: number of the first, and codes of all."""
        for first in range(1, self.slide_count + 1, _CHUNK_SLIDES):
            slides = min(_CHUNK_SLIDES, self.slide_count + 1 - first)
            codes = self._draw(first, slides)
            rest = self.patches - (first - 1) * SLIDE_PATCHES
            yield first, PatchCodes(codes.keys[:rest], codes.textures[:rest], codes.xy[:rest])

    def slides(self) -> Iterator[tuple[int, PatchCodes]]:
        """Draw slide by slide: number from 1, and codes."""
        for first, codes in self.chunks():
            for begin in range(0, len(codes), SLIDE_PATCHES):
                part = slice(begin, begin + SLIDE_PATCHES)
                yield (
                    first + begin // SLIDE_PATCHES,
                    PatchCodes(codes.keys[part], codes.textures[part], codes.xy[part]),
                )

    def queries(self, slides: int, first: int = 0) -> PatchCodes:
        """Draw slides that the cohort does not hold, one after the other."""
        return self._draw(_FIRST_QUERY + first, slides)

    def label(self, number: int) -> str:
        """Name the pattern that a slide shows above all."""
        return f"pattern-{_main_pattern(self._seed, number)}"

    def _draw(self, first: int, slides: int) -> PatchCodes:
        begin = time.perf_counter()
        keys, words = _draw(self._seed, first, slides, self._centres, self._slopes, self._textures)
        xy = np.zeros((len(keys), 2), dtype=np.int32)
        xy[:, 0] = np.arange(len(keys)) % SLIDE_PATCHES * 1024
        self.drawing_s += time.perf_counter() - begin
        return PatchCodes(keys, words.view(np.uint8), xy)


_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


@numba.njit(cache=True, inline="always")
def _next(state: NDArray[np.uint64]) -> np.uint64:
    """Splitmix64."""
    state[0] += _GOLDEN_RATIO
    word = state[0]
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@numba.njit(cache=True)
def _uniform(state: NDArray[np.uint64]) -> float:
    return np.float64(_next(state) >> np.uint64(11)) / 2.0**53


@numba.njit(cache=True)
def _normal(state: NDArray[np.uint64]) -> float:
    return np.sqrt(-2 * np.log(1 - _uniform(state))) * np.cos(2 * np.pi * _uniform(state))


@numba.njit(cache=True)
def _start(seed: int, slide: int) -> NDArray[np.uint64]:
    state = np.empty(1, dtype=np.uint64)
    state[0] = (np.uint64(seed) << np.uint64(40)) ^ np.uint64(slide)
    state[0] = _next(state)
    return state


@numba.njit(cache=True)
def _main_pattern(seed: int, slide: int) -> int:
    return np.int64(_next(_start(seed, slide)) % np.uint64(PATTERNS))


@numba.njit(cache=True)
def _draw(
    seed: int,
    first: int,
    slides: int,
    centres: NDArray[np.float64],
    slopes: NDArray[np.float64],
    prototypes: NDArray[np.uint64],
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    keys = np.empty(slides * SLIDE_PATCHES, dtype=np.int64)
    textures = np.empty((slides * SLIDE_PATCHES, _WORDS), dtype=np.uint64)
    own_flips = np.empty(_WORDS, dtype=np.uint64)
    patterns = np.empty(4, dtype=np.int64)
    bit = np.uint64(1)
    for slide in range(slides):
        state = _start(seed, first + slide)
        for place in range(4):
            patterns[place] = np.int64(_next(state) % np.uint64(PATTERNS))
        stain = 30 * _normal(state)
        own_flips[:] = 0
        for _ in range(20):
            flip = _next(state) % np.uint64(TEXTURE_BITS)
            own_flips[flip >> np.uint64(6)] ^= bit << (flip & np.uint64(63))
        for patch in range(slide * SLIDE_PATCHES, (slide + 1) * SLIDE_PATCHES):
            # Five patches of eight show the main pattern.
            choice = _next(state) & np.uint64(7)
            pattern = patterns[choice] if choice < 4 else patterns[0]
            density = min(max(0.5 + 0.2 * _normal(state), 0.0), 0.999)
            level = int(density * _LEVELS)
            coarse = centres[pattern] + slopes[pattern] * density + stain + 25 * _normal(state)
            coarse = np.int64(min(max(coarse, 0.0), 8000.0))
            middle = 4 * coarse + np.int64(min(max(96 + 8.9 * _normal(state), 0.0), 192.0))
            fine = 4 * middle + np.int64(min(max(384 + 17.9 * _normal(state), 0.0), 768.0))
            keys[patch] = fine + 10**6 * middle + 10**11 * coarse
            for word in range(_WORDS):
                textures[patch, word] = prototypes[pattern, level, word] ^ own_flips[word]
            for _ in range(10 + _next(state) % np.uint64(70)):
                flip = _next(state) % np.uint64(TEXTURE_BITS)
                textures[patch, flip >> np.uint64(6)] ^= bit << (flip & np.uint64(63))
            # Overlapping mosaic patches: one in 32 has the key of the one before.
            if patch % SLIDE_PATCHES and _next(state) & np.uint64(31) == 0:
                keys[patch] = keys[patch - 1]
    return keys, textures
