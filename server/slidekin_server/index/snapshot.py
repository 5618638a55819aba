"""One version of an index: what a search reads from its first patch to its last."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from slidekin_server.index import blocks as block_kernels
from slidekin_server.index.admitted import Admitted
from slidekin_server.index.errors import ParameterError
from slidekin_server.index.exact import NO_PATCH, nearest, nearest_of_each_slide
from slidekin_server.index.guided import guided_hits
from slidekin_server.index.memory import FILL_PATCHES, Arena
from slidekin_server.index.parameters import SEED_SPACING_UNIT, GuidedParameters
from slidekin_server.values import Bag, SearchMode

_FEW_EXCLUDED: Final = 4096
"""So few excluded patches a walk passes one by one: at most a quarter of its own steps again."""
_COPY_FACTOR: Final = 32
"""Admitted patches are copied when they are no more than this times the root of all patches.
Copying costs about 0.4 us a patch, once; walking through what is not admitted, for a slide of 60
patches, about 2 ms times all / admitted: both cost the same near this bound."""
_SLIDE_TABLE_BYTES: Final = 64 * 2**20
"""Bound of the table of nearest patches by query and slide."""

_THREAD_BLOCKS: Final = 256
"""Blocks that are worth a thread of their own in a scan."""

_T = TypeVar("_T")
_NO_BITMAP: Final = np.empty(0, dtype=np.uint8)
_NO_SKIP: Final = np.empty(0, dtype=np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """The blocks of one version, in order of their patches."""

    first_keys: NDArray[np.int64]
    blocks: NDArray[np.int32]
    counts: NDArray[np.int32]
    bases: NDArray[np.int64]
    """Addresses of the arena's segments."""


@dataclass(frozen=True, slots=True, eq=False)
class SlideTable:
    """What is known of each slide number; shared by all versions.

    A slide's row is written before the first version that holds it is published and only
    ``removed`` is ever written again: with the number of the first version without it, before that
    is published. So every version reads its own truth from the same arrays, without a lock.
    """

    added: NDArray[np.int64]
    """By slide number: the first version that holds it."""
    removed: NDArray[np.int64]
    """By slide number: the first version that no longer holds it."""
    patches: NDArray[np.int32]
    """By slide number: number of patches."""


@dataclass(frozen=True, slots=True, eq=False)
class _Selection:
    """How a filter is applied to one version."""

    patches: int
    slides: int
    bitmap: NDArray[np.uint8]
    following: NDArray[np.int32]
    preceding: NDArray[np.int32]
    copy: IndexSnapshot | None
    """The admitted patches alone, where they are so few that they were copied."""


class _Heaps(NamedTuple):
    """The nearest patches of each query in one part of the directory; see `nearest`."""

    distances: NDArray[np.int32]
    orders: NDArray[np.int64]
    keys: NDArray[np.int64]
    sizes: NDArray[np.int64]


class IndexSnapshot:
    """One version of an index. Immutable; any number of threads may search it.

    A filter never makes a search walk through more than it admits, and results always equal those
    of an index that holds the admitted slides only:

    - few patches excluded (a patient left out): the walk passes them one by one;
    - few patches admitted: they are copied into an index of their own, once per request;
    - otherwise blocks without an admitted patch are jumped over, by a table made once per request.
    """

    def __init__(
        self,
        *,
        version: int,
        texture_bits: int,
        directory: Directory,
        arena: Arena,
        table: SlideTable,
        keys_of_slide: Mapping[int, NDArray[np.int64]],
        patches: int,
        slides: int,
    ) -> None:
        """Put a version together from parts that never change again; `CollectionIndex` does so."""
        self.version = version
        """Grows by one with every change of the index."""
        self.texture_bits = texture_bits
        self.patches = patches
        self.slides = slides
        self.directory = directory
        self.table = table
        self._arena = arena  # keeps the memory behind the directory's addresses
        self._keys_of_slide = keys_of_slide
        self._words = texture_bits // 64
        self._selections: WeakKeyDictionary[Admitted, _Selection] = WeakKeyDictionary()

    def guided(
        self,
        key: int,
        texture: NDArray[np.uint8],
        parameters: GuidedParameters,
        admitted: Admitted | None = None,
    ) -> Bag:
        """Search one patch by the guided walk.

        At most 2 * T * (successor_steps + predecessor_steps) keys are looked at, at any size of
        the index. (A key that many patches share costs a look at each of them.) Releases the GIL.

        Args:
            key: The query's key, 0..2**63 - 1.
            texture: Shape (texture_bits // 8,).
            parameters: How far and how strictly to look.
            admitted: The slides that may be found; None for all.

        Raises:
            ParameterError: The key or the texture does not fit.
        """
        if not 0 <= key < 2**63:
            raise ParameterError("key", "must lie in 0..2**63 - 1")
        query = self._as_words(texture, "texture", ndim=1)
        selection = self._select(admitted)
        if selection.copy is not None:
            return selection.copy.guided(key, texture, parameters)
        directory = self.directory
        keys, distances, slides, patches = guided_hits(
            directory.first_keys,
            directory.blocks,
            directory.counts,
            directory.bases,
            self._words,
            self.patches,
            int(key),
            query,
            parameters.C * SEED_SPACING_UNIT,
            parameters.T,
            parameters.successor_steps,
            parameters.predecessor_steps,
            parameters.hamming_threshold_bits,
            parameters.include_seed_key,
            selection.bitmap,
            selection.following,
            selection.preceding,
        )
        return Bag(keys, distances, slides, patches, SearchMode.GUIDED)

    def exact(
        self,
        textures: NDArray[np.uint8],
        *,
        limit: int,
        max_distance_bits: int | None = None,
        admitted: Admitted | None = None,
        best_per_slide: bool = False,
        threads: int = 1,
    ) -> list[Bag]:
        """Search patches by a full Hamming scan. O(patches) for each; releases the GIL.

        Args:
            textures: Shape (n, texture_bits // 8). Memory is read once for all n.
            limit: Hits a patch at most, the nearest; equal distances in order of insertion. >= 1.
            max_distance_bits: Leave out what is further away; None leaves nothing out.
            admitted: The slides that may be found; None for all.
            best_per_slide: At most one hit a slide, its nearest: ``limit`` slides then come back
                wherever so many are admitted.
            threads: Threads that share the work; results do not depend on it. >= 1.

        Raises:
            ParameterError: An argument does not fit.
        """
        if limit < 1:
            raise ParameterError("limit", "must be at least 1")
        if threads < 1:
            raise ParameterError("threads", "must be at least 1")
        if max_distance_bits is not None and max_distance_bits < 0:
            raise ParameterError("max_distance_bits", "must not be negative")
        queries = self._as_words(textures, "textures", ndim=2)
        selection = self._select(admitted)
        if selection.copy is not None:
            return selection.copy.exact(
                textures,
                limit=limit,
                max_distance_bits=max_distance_bits,
                best_per_slide=best_per_slide,
                threads=threads,
            )
        reach = self.texture_bits
        if max_distance_bits is not None:
            reach = min(reach, max_distance_bits)
        scan = self._scan_slides if best_per_slide else self._scan_patches
        return scan(queries, limit, reach, selection, threads)

    def admitted_patches(self, admitted: Admitted | None) -> int:
        """Count the patches a filter admits."""
        return self._select(admitted).patches

    def admitted_slides(self, admitted: Admitted | None) -> int:
        """Count the slides a filter admits."""
        return self._select(admitted).slides

    def slide_numbers(self) -> NDArray[np.int64]:
        """Return the numbers of this version's slides, ascending. O(slide numbers)."""
        table = self.table
        alive = (table.added <= self.version) & (self.version < table.removed)
        return np.flatnonzero(alive)

    def _scan_patches(
        self,
        queries: NDArray[np.uint64],
        limit: int,
        reach: int,
        selection: _Selection,
        threads: int,
    ) -> list[Bag]:
        size = min(limit, selection.patches)
        if not len(queries) * size:
            nothing = np.empty(0, dtype=np.int64)
            few = np.empty(0, dtype=np.int32)
            return [Bag(nothing, few, nothing, few, SearchMode.EXACT) for _ in queries]

        def scan(begin: int, end: int) -> _Heaps:
            heaps = _Heaps(
                np.empty((len(queries), size), dtype=np.int32),
                np.empty((len(queries), size), dtype=np.int64),
                np.empty((len(queries), size), dtype=np.int64),
                np.zeros(len(queries), dtype=np.int64),
            )
            nearest(
                begin,
                end,
                self.directory.blocks,
                self.directory.counts,
                self.directory.bases,
                self._words,
                queries,
                selection.bitmap,
                selection.following,
                reach,
                *heaps,
            )
            return heaps

        parts = self._shared_out(scan, threads)
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

    def _scan_slides(
        self,
        queries: NDArray[np.uint64],
        limit: int,
        reach: int,
        selection: _Selection,
        threads: int,
    ) -> list[Bag]:
        numbers = len(self.table.added)
        batch = max(1, _SLIDE_TABLE_BYTES // (8 * max(1, numbers) * threads))
        bags = []
        for first in range(0, len(queries), batch):
            part = queries[first : first + batch]

            def scan(begin: int, end: int, part: NDArray[np.uint64] = part) -> NDArray[np.int64]:
                best = np.full((len(part), numbers), NO_PATCH, dtype=np.int64)
                nearest_of_each_slide(
                    begin,
                    end,
                    self.directory.blocks,
                    self.directory.counts,
                    self.directory.bases,
                    self._words,
                    part,
                    selection.bitmap,
                    selection.following,
                    reach,
                    limit,
                    best,
                )
                return best

            best = functools.reduce(np.minimum, self._shared_out(scan, threads))
            for row in best:
                slides = np.flatnonzero(row != NO_PATCH)
                distances = (row[slides] >> 32).astype(np.int32)
                order = np.argsort(distances, kind="stable")[:limit]
                slides = slides[order]
                patches = (row[slides] & 0xFFFFFFFF).astype(np.int32)
                found = zip(slides.tolist(), patches.tolist(), strict=True)
                keys = [self._keys_of_slide[slide][patch] for slide, patch in found]
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

    def _shared_out(self, scan: Callable[[int, int], _T], threads: int) -> list[_T]:
        """Scan the directory in as many parts as threads; return what each found."""
        places = len(self.directory.blocks)
        threads = max(1, min(threads, places // _THREAD_BLOCKS))
        cuts = [places * cut // threads for cut in range(threads + 1)]
        if threads == 1:
            return [scan(0, places)]
        with ThreadPoolExecutor(threads, thread_name_prefix="scan") as pool:
            return list(pool.map(scan, cuts[:-1], cuts[1:]))

    def _as_words(
        self, textures: NDArray[np.uint8], field: str, *, ndim: int
    ) -> NDArray[np.uint64]:
        width = self.texture_bits // 8
        if textures.dtype != np.uint8 or textures.ndim != ndim or textures.shape[-1] != width:
            reason = (
                f"must be uint8 with {width} bytes a texture ({self.texture_bits} bits), "
                f"not {textures.dtype} of shape {textures.shape}"
            )
            raise ParameterError(field, reason)
        # A copy is aligned and writable, whatever came in: one type, compiled once.
        return textures.copy().view(np.uint64)

    def _select(self, admitted: Admitted | None) -> _Selection:
        """Work out how to apply a filter, once for each filter and version."""
        if admitted is None:
            return _Selection(self.patches, self.slides, _NO_BITMAP, _NO_SKIP, _NO_SKIP, None)
        with admitted.lock:
            selection = self._selections.get(admitted)
            if selection is None:
                selection = self._selections[admitted] = self._work_out(admitted)
        return selection

    def _work_out(self, admitted: Admitted) -> _Selection:
        bitmap = admitted.bitmap(len(self.table.added))
        numbers = self.slide_numbers()
        numbers = numbers[bitmap[numbers] != 0]
        patches = int(self.table.patches[numbers].sum(dtype=np.int64))
        following = preceding = _NO_SKIP
        copy = None
        if patches == self.patches:
            bitmap = _NO_BITMAP
        elif patches <= _COPY_FACTOR * math.isqrt(self.patches):
            copy = self._copy_of(numbers)
        elif self.patches - patches > _FEW_EXCLUDED:
            following, preceding = block_kernels.neighbours_admitted(
                self.directory.blocks,
                self.directory.counts,
                self.directory.bases,
                self._words,
                bitmap,
            )
        return _Selection(patches, len(numbers), bitmap, following, preceding, copy)

    def _copy_of(self, numbers: NDArray[np.int64]) -> IndexSnapshot:
        """Copy these slides' patches into a small index of their own."""
        counts = self.table.patches[numbers]
        own = [self._keys_of_slide[number] for number in numbers.tolist()]
        keys = np.concatenate([np.empty(0, dtype=np.int64), *own])
        slides, patches = owners(numbers, counts)
        order = np.argsort(keys, kind="stable")
        keys, slides, patches = keys[order], slides[order], patches[order]
        addresses = block_kernels.texture_addresses(
            self.directory.first_keys,
            self.directory.blocks,
            self.directory.counts,
            self.directory.bases,
            self._words,
            keys,
            slides,
            patches,
        )
        arena, directory = pack(self._words, keys, slides, patches, addresses)
        return IndexSnapshot(
            version=self.version,
            texture_bits=self.texture_bits,
            directory=directory,
            arena=arena,
            table=self.table,
            keys_of_slide=self._keys_of_slide,
            patches=len(keys),
            slides=len(numbers),
        )


def owners(
    numbers: NDArray[np.int64], counts: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Spell out slide number and patch index of every patch of slides, one after the other."""
    slides = np.repeat(numbers.astype(np.int32), counts)
    ends = np.cumsum(counts, dtype=np.int64)
    patches = np.arange(len(slides), dtype=np.int64) - np.repeat(ends - counts, counts)
    return slides, patches.astype(np.int32)


def pack(
    words: int,
    keys: NDArray[np.int64],
    slides: NDArray[np.int32],
    patches: NDArray[np.int32],
    texture_addresses: NDArray[np.int64],
) -> tuple[Arena, Directory]:
    """Write sorted patches, whose textures lie at these addresses, into blocks of a new arena."""
    arena = Arena(words)
    blocks = arena.allocate(-(-len(keys) // FILL_PATCHES))
    first_keys, blocks, counts = block_kernels.fill(
        arena.bases, words, blocks, keys, slides, patches, texture_addresses
    )
    return arena, Directory(first_keys, blocks, counts, arena.bases)
