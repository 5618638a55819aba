"""Where the index keeps its patches: blocks of sorted patches in segments that never move.

A block holds up to `BLOCK_PATCHES` patches, each column of it in one piece:

    keys      int64  [BLOCK_PATCHES]
    slides    int32  [BLOCK_PATCHES]
    patches   int32  [BLOCK_PATCHES]
    textures  uint64 [words][BLOCK_PATCHES]

Textures stand word by word: a cache line holds the same word of eight neighbours, a group, and one
vector compares it with the query's. Eight distances come out side by side, whatever the width, and
no sum across a vector is needed. Most patches are too far away by their leading words already: the
other words, which lie elsewhere, are then never read from memory.

Segments are added as the index grows and are not copied or given back, hence no memory is spent
on doubling and an address stays good for as long as its arena lives. Compiled code gets a table of
segment addresses; blocks are known by number.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from slidekin_server.index.compiled import (
    Int32s,
    Int64s,
    Words,
    inlined,
    pointer,
)

BLOCK_PATCHES: Final = 120
"""Large enough for a long sequential read, small enough that copying one on a write is cheap. Whole
groups, but no power of two: the words of one texture would then share few places of a cache."""
GROUP_PATCHES: Final = 8
"""Patches that are compared at once: as many as a vector has words."""
WORD_BYTES: Final = 8 * BLOCK_PATCHES
"""From one word of a texture to the next."""
FILL_PATCHES: Final = 104
"""How full bulk building leaves a block, so that the first additions need not split it."""
SEGMENT_BLOCKS: Final = 2048
_SEGMENT_SHIFT: Final = 11
CACHE_LINE_BYTES: Final = 64
"""Blocks begin at a cache line: a vector that lay across two would be two reads."""


class Arena:
    """Segments of blocks, and which of the blocks are free. Used by one writer at a time."""

    def __init__(self, words: int) -> None:
        self.words = words
        self.block_bytes = BLOCK_PATCHES * (16 + 8 * words)
        self.bases: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        """Addresses of the segments; replaced, never changed, when a segment is added."""
        self.written_for: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        """Of each block, the version of the index that it was last allocated for."""
        self._segments: list[NDArray[np.uint8]] = []
        self._next = 0
        self._free: list[int] = []

    def allocate(self, count: int, version: int = 0) -> NDArray[np.int32]:
        """Return the numbers of ``count`` blocks of undefined content, for a version to come."""
        fresh = max(0, count - len(self._free))
        while self._next + fresh > len(self._segments) * SEGMENT_BLOCKS:
            # Memory is not touched here: pages come from the system as blocks are filled.
            segment = np.empty(SEGMENT_BLOCKS * self.block_bytes + CACHE_LINE_BYTES, dtype=np.uint8)
            self._segments.append(segment)
            base = -(-segment.ctypes.data // CACHE_LINE_BYTES) * CACHE_LINE_BYTES
            self.bases = np.append(self.bases, np.int64(base))
            more = np.zeros(SEGMENT_BLOCKS, dtype=np.int64)
            self.written_for = np.append(self.written_for, more)
        reused = [self._free.pop() for _ in range(count - fresh)]
        blocks = np.empty(count, dtype=np.int32)
        blocks[: len(reused)] = reused
        blocks[len(reused) :] = np.arange(self._next, self._next + fresh)
        self._next += fresh
        self.written_for[blocks] = version
        return blocks

    def release(self, blocks: NDArray[np.int32]) -> None:
        """Take blocks back which nobody reads any more."""
        self._free.extend(blocks.tolist())

    @property
    def used_blocks(self) -> int:
        """Number of blocks that are not free."""
        return self._next - len(self._free)


@inlined
def block_address(bases: Int64s, block: int, words: int) -> int:
    """Return where a block begins."""
    within = block & (SEGMENT_BLOCKS - 1)
    return int(bases[block >> _SEGMENT_SHIFT]) + within * (BLOCK_PATCHES * (16 + 8 * words))


@inlined
def keys_of(address: int) -> Int64s:
    """View the keys of the block at an address."""
    return carray(pointer(address), (BLOCK_PATCHES,), np.int64)


@inlined
def slides_of(address: int) -> Int32s:
    """View the slide numbers of the block at an address."""
    return carray(pointer(address + 8 * BLOCK_PATCHES), (BLOCK_PATCHES,), np.int32)


@inlined
def patches_of(address: int) -> Int32s:
    """View the patch indices of the block at an address."""
    return carray(pointer(address + 12 * BLOCK_PATCHES), (BLOCK_PATCHES,), np.int32)


@inlined
def textures_of(address: int, words: int) -> Words:
    """View the textures of the block at an address: [word, slot]."""
    return carray(pointer(address + 16 * BLOCK_PATCHES), (words, BLOCK_PATCHES), np.uint64)


@inlined
def texture_at(address: int, slot: int) -> int:
    """Return where the first word of a slot's texture lies; the next is `WORD_BYTES` further."""
    return address + 16 * BLOCK_PATCHES + 8 * slot


@inlined
def leading_words(words: int, bound: int) -> int:
    """Say how many words of a texture are best compared first, to find those within a bound.

    So many that a texture which differs in half of its bits, as those of other tissue about do, is
    beyond the bound by them alone: half of their bits, less three and a half standard deviations.
    """
    leading = 1
    while leading < words and 32 * leading - 14 * math.sqrt(leading) <= bound:
        leading += 1
    return leading


@inlined
def texture_from(address: int, words: int) -> Words:
    """View the texture whose first word lies at an address."""
    return carray(pointer(address), (words, BLOCK_PATCHES), np.uint64)[:, 0]
