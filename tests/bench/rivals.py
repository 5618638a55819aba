"""What the engine is measured against: the oracle, numpy, faiss."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from tests.bench.cohort import SLIDE_PATCHES, TEXTURE_BITS, Cohort
from tests.oracle import OracleIndex, OraclePatch, bits_of

from slidekin_server.index import GuidedParameters
from slidekin_server.index.parameters import SEED_SPACING_UNIT

Rows = list[tuple[int, int, int, int]]
"""Hits as (key, distance, slide, patch), in order."""


def oracle_of(cohort: Cohort) -> OracleIndex:
    """Make the plain-Python oracle's index of a cohort."""
    return OracleIndex(
        OraclePatch(key, bits_of(texture), number, patch)
        for number, codes in cohort.slides()
        for patch, (key, texture) in enumerate(
            zip(codes.keys.tolist(), codes.textures, strict=True)
        )
    )


class NumpyIndex:
    """The guided walk over sorted arrays: ``searchsorted`` for places, a vector for each walk."""

    def __init__(self, cohort: Cohort) -> None:
        keys = np.empty(cohort.patches, dtype=np.int64)
        textures = np.empty((cohort.patches, TEXTURE_BITS // 64), dtype=np.uint64)
        for first, codes in cohort.chunks():
            begin = (first - 1) * SLIDE_PATCHES
            keys[begin : begin + len(codes)] = codes.keys
            textures[begin : begin + len(codes)] = codes.textures.view(np.uint64)
        self._order = np.argsort(keys, kind="stable")
        self._textures = textures[self._order]
        self._keys, starts = np.unique(keys[self._order], return_index=True)
        self._starts = np.append(starts, cohort.patches)
        self._accepted = np.zeros(len(self._keys), dtype=np.bool_)
        self.looked_at = 0
        """Patches that all searches so far have looked at."""

    def guided(self, key: int, texture: NDArray[np.uint8], parameters: GuidedParameters) -> Rows:
        """Search one patch; results equal the engine's."""
        query = texture.copy().view(np.uint64)
        walks = []
        for side in (-1, 1):
            for turn in range(parameters.T):
                seed = key + side * turn * parameters.C * SEED_SPACING_UNIT
                low, high = np.searchsorted(self._keys, [seed, seed + 1])
                if parameters.include_seed_key and low < high:
                    walks.append(self._look(low, high, 1, query, parameters))
                below = max(0, low - parameters.predecessor_steps)
                walks.append(self._look(below, low, -1, query, parameters))
                above = min(len(self._keys), high + parameters.successor_steps)
                walks.append(self._look(high, above, 1, query, parameters))
        places, packed = (np.concatenate(part) for part in zip(*walks, strict=True))
        self._accepted[places] = False
        order = np.argsort(packed >> 32, kind="stable")
        found = self._order[packed[order] & 0xFFFFFFFF]
        return list(
            zip(
                self._keys[places[order]].tolist(),
                (packed[order] >> 32).tolist(),
                (found // SLIDE_PATCHES + 1).tolist(),
                (found % SLIDE_PATCHES).tolist(),
                strict=True,
            )
        )

    def _look(
        self,
        begin: int,
        end: int,
        direction: int,
        query: NDArray[np.uint64],
        parameters: GuidedParameters,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Walk over these distinct keys up to the first that is accepted already.

        Returns:
            Places of newly accepted keys in order of discovery, and distance * 2**32 + patch.
        """
        met = np.flatnonzero(self._accepted[begin:end])
        if len(met):
            begin, end = (begin, begin + met[0]) if direction == 1 else (begin + met[-1] + 1, end)
        if begin == end:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        first, last = self._starts[begin], self._starts[end]
        self.looked_at += int(last - first)
        different = np.bitwise_count(self._textures[first:last] ^ query)
        bits = different.sum(axis=1, dtype=np.int64)
        packed = np.minimum.reduceat(
            bits << 32 | np.arange(first, last), self._starts[begin:end] - first
        )
        near = np.flatnonzero(packed >> 32 <= parameters.hamming_threshold_bits)[::direction]
        self._accepted[begin + near] = True
        return begin + near, packed[near]


def faiss_flat(cohort: Cohort) -> Any:
    """Make a faiss IndexBinaryFlat of a cohort; ids are in order of insertion."""
    index = faiss.IndexBinaryFlat(TEXTURE_BITS)
    for _, codes in cohort.chunks():
        index.add(codes.textures)
    return index


def faiss_hnsw(cohort: Cohort, *, links: int = 16) -> Any:
    """Make a faiss IndexBinaryHNSW of a cohort."""
    index = faiss.IndexBinaryHNSW(TEXTURE_BITS, links)
    index.hnsw.efConstruction = 40
    for _, codes in cohort.chunks():
        index.add(codes.textures)
    return index
