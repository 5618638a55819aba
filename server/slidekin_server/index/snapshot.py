"""One version of an index, which a search reads from its first patch to its last."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from slidekin_server.index import blocks as block_kernels
from slidekin_server.index.admitted import Admitted
from slidekin_server.index.directory import Directory, SlideTable, owners, pack
from slidekin_server.index.errors import ParameterError
from slidekin_server.index.guided import guided_hits
from slidekin_server.index.memory import Arena
from slidekin_server.index.parameters import SEED_SPACING_UNIT, GuidedParameters
from slidekin_server.index.scan import Scan
from slidekin_server.values import Bag, SearchMode

_FEW_EXCLUDED: Final = 4096
"""Most excluded patches that a walk passes one by one: at most a quarter of its own steps more."""
_COPY_FACTOR: Final = 64
"""Admitted patches are copied if their number is at most this times the square root of all patches.
Copying takes about 1 us per patch, once. Walking through patches that are not admitted takes, for a
slide of 60 patches, about 20 ms times all / admitted. Both are equal near twice this bound, but a
request with fewer patches must pay for its copy, too."""
_NO_BITMAP: Final = np.empty(0, dtype=np.uint8)
_NO_SKIP: Final = np.empty(0, dtype=np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class _Selection:
    """How a filter is applied to one version."""

    patches: int
    slides: int
    bitmap: NDArray[np.uint8]
    following: NDArray[np.int32]
    preceding: NDArray[np.int32]
    copy: IndexSnapshot | None
    """Only the admitted patches, if they are so few that they were copied."""


class IndexSnapshot:
    """One version of an index. Immutable; any number of threads may search it.

    Results with a filter always equal those of an index that holds only the admitted slides, and
    a search never walks through many patches that are not admitted:

    - few patches excluded (a patient left out): the walk passes them one by one;
    - few patches admitted: they are copied into a separate index, once per request;
    - otherwise the walk skips blocks without an admitted patch, by a table made once per request.
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
        """Make a version from parts that never change again; called by `CollectionIndex`."""
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
        self._everything = _Selection(patches, slides, _NO_BITMAP, _NO_SKIP, _NO_SKIP, None)
        self._selections: WeakKeyDictionary[Admitted, _Selection] = WeakKeyDictionary()

    def guided(
        self,
        key: int,
        texture: NDArray[np.uint8],
        parameters: GuidedParameters,
        admitted: Admitted | None = None,
    ) -> Bag:
        """Search one patch by the guided walk.

        It looks at no more than 2 * T * (successor_steps + predecessor_steps) keys, at any size of
        the index. (For a key that many patches share, it looks at each of them.) Releases the GIL.

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
            limit: Most hits per patch, the nearest; ties in order of insertion. >= 1.
            max_distance_bits: Leave out hits that are further away; None: none.
            admitted: The slides that may be found; None for all.
            best_per_slide: Return only the nearest hit of each slide: ``limit`` slides are then
                found if that many are admitted.
            threads: Number of threads; results do not depend on it. >= 1.

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
        scan = Scan(self.directory, self._words, selection.bitmap, selection.following, threads)
        if best_per_slide:
            return scan.slides(
                queries,
                limit=limit,
                max_distance_bits=reach,
                slide_numbers=len(self.table.added),
                keys_of_slide=self._keys_of_slide,
            )
        size = min(limit, selection.patches)
        return scan.patches(queries, limit=size, max_distance_bits=reach)

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
        # A copy is always aligned and writable, so the kernels are compiled for one type only.
        return textures.copy().view(np.uint64)

    def _select(self, admitted: Admitted | None) -> _Selection:
        """Decide how to apply a filter, once per filter and version."""
        if admitted is None:
            return self._everything
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
        """Copy these slides' patches into a separate small index."""
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
