"""The exact scan of one version: divided among threads, with the results merged into bags."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from slidekin_server.index.directory import Directory
from slidekin_server.index.exact import NO_PATCH, nearest, nearest_of_each_slide
from slidekin_server.values import Bag, SearchMode

_SLIDE_TABLE_BYTES: Final = 64 * 2**20
"""Largest size of the table of nearest patches by query and slide."""
_THREAD_BLOCKS: Final = 256
"""Fewest blocks for which a thread is worthwhile."""

_T = TypeVar("_T")


class _Heaps(NamedTuple):
    """The nearest patches of each query in one part of the directory; see `nearest`."""

    distances: NDArray[np.int32]
    orders: NDArray[np.int64]
    keys: NDArray[np.int64]
    sizes: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What to scan, and with how many threads; results do not depend on their number."""

    directory: Directory
    words: int
    """Words per texture."""
    bitmap: NDArray[np.uint8]
    """Admitted slides by slide number; empty if every slide is admitted."""
    following: NDArray[np.int32]
    """As in the guided walk."""
    threads: int

    def patches(
        self, queries: NDArray[np.uint64], *, limit: int, max_distance_bits: int
    ) -> list[Bag]:
        """Find the nearest patches of each query.

        Args:
            queries: Shape (n, words).
            limit: Most hits per query; memory is allocated for that many.
            max_distance_bits: Hits further away are left out.
        """
        if not len(queries) * limit:
            nothing = np.empty(0, dtype=np.int64)
            few = np.empty(0, dtype=np.int32)
            return [Bag(nothing, few, nothing, few, SearchMode.EXACT) for _ in queries]

        def scan(begin: int, end: int) -> _Heaps:
            heaps = _Heaps(
                np.empty((len(queries), limit), dtype=np.int32),
                np.empty((len(queries), limit), dtype=np.int64),
                np.empty((len(queries), limit), dtype=np.int64),
                np.zeros(len(queries), dtype=np.int64),
            )
            nearest(
                begin,
                end,
                self.directory.blocks,
                self.directory.counts,
                self.directory.bases,
                self.words,
                queries,
                self.bitmap,
                self.following,
                max_distance_bits,
                *heaps,
            )
            return heaps

        parts = self._shared_out(scan)
        bags = []
        for query in range(len(queries)):
            distances, orders, keys = (
                np.concatenate([part[column][query, : part.sizes[query]] for part in parts])
                for column in range(3)
            )
            order = np.lexsort((orders, distances))[:limit]
            bags.append(
                Bag(
                    keys=keys[order],
                    distances=distances[order],
                    slides=orders[order] >> 32,
                    patches=(orders[order] & 0xFFFFFFFF).astype(np.int32),
                    mode=SearchMode.EXACT,
                )
            )
        return bags

    def slides(
        self,
        queries: NDArray[np.uint64],
        *,
        limit: int,
        max_distance_bits: int,
        slide_numbers: int,
        keys_of_slide: Mapping[int, NDArray[np.int64]],
    ) -> list[Bag]:
        """Find the nearest slides to each query, each with its nearest patch.

        Args:
            queries: Shape (n, words).
            limit: Most slides per query.
            max_distance_bits: Patches further away are left out.
            slide_numbers: All slide numbers are below this.
            keys_of_slide: Keys by slide number and patch index.
        """
        batch = max(1, _SLIDE_TABLE_BYTES // (8 * max(1, slide_numbers) * self.threads))
        bags = []
        for first in range(0, len(queries), batch):
            part = queries[first : first + batch]

            def scan(begin: int, end: int, part: NDArray[np.uint64] = part) -> NDArray[np.int64]:
                best = np.full((len(part), slide_numbers), NO_PATCH, dtype=np.int64)
                nearest_of_each_slide(
                    begin,
                    end,
                    self.directory.blocks,
                    self.directory.counts,
                    self.directory.bases,
                    self.words,
                    part,
                    self.bitmap,
                    self.following,
                    max_distance_bits,
                    limit,
                    best,
                )
                return best

            best = functools.reduce(np.minimum, self._shared_out(scan))
            for row in best:
                slides = np.flatnonzero(row != NO_PATCH)
                distances = (row[slides] >> 32).astype(np.int32)
                order = np.argsort(distances, kind="stable")[:limit]
                slides = slides[order]
                patches = (row[slides] & 0xFFFFFFFF).astype(np.int32)
                found = zip(slides.tolist(), patches.tolist(), strict=True)
                keys = [keys_of_slide[slide][patch] for slide, patch in found]
                bags.append(
                    Bag(
                        keys=np.array(keys, dtype=np.int64),
                        distances=distances[order],
                        slides=slides,
                        patches=patches,
                        mode=SearchMode.EXACT,
                    )
                )
        return bags

    def _shared_out(self, scan: Callable[[int, int], _T]) -> list[_T]:
        """Scan the directory in one part per thread; return the results of all parts."""
        places = len(self.directory.blocks)
        threads = max(1, min(self.threads, places // _THREAD_BLOCKS))
        cuts = [places * cut // threads for cut in range(threads + 1)]
        if threads == 1:
            return [scan(0, places)]
        with ThreadPoolExecutor(threads, thread_name_prefix="scan") as pool:
            return list(pool.map(scan, cuts[:-1], cuts[1:]))
