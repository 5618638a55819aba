"""The memory of the index: blocks of sorted patches in segments that never move.

A block holds up to `BLOCK_PATCHES` patches, column by column:

    changes   uint64 [WINDOWS], and room up to a cache line
    textures  uint64 [words][BLOCK_PATCHES]
    keys      int64  [BLOCK_PATCHES]
    slides    int32  [BLOCK_PATCHES]
    patches   int32  [BLOCK_PATCHES]

A walk counts the keys that it passes. Which key follows which is of no importance for that, so it
reads a bit per patch, ``changes``, instead of the keys: whether a patch has another key than the
patch before it. The bits are side by side with the words of textures that a walk reads first.

Textures are stored word by word: a cache line holds the same word of eight neighbours (a group),
and one vector instruction compares it with the query's. This gives eight distances side by side,
for any width, and needs no sum across a vector. For most patches the leading words alone are too
far away; their other words, which are elsewhere, are then never read from memory.

Segments are added as the index grows, and never copied or freed. So no memory is spent on doubling,
and an address stays valid as long as its arena exists. Compiled code gets a table of segment
addresses; blocks are identified by number.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from slidekin_server.compiled import Int32s, Int64s, Words, inlined
from slidekin_server.index.instructions import pointer

BLOCK_PATCHES: Final = 120
"""Large enough for a long sequential read, small enough that copying one on a write is cheap. A
multiple of the group, but not a power of two: the words of one texture would then compete for few
lines of the cache."""
GROUP_PATCHES: Final = 8
"""Patches that are compared at once: the number of words in a vector."""
WORD_BYTES: Final = 8 * BLOCK_PATCHES
"""Distance from one word of a texture to the next, in bytes."""
FILL_PATCHES: Final = 104
"""Patches that bulk building puts into a block, so that the first additions need not split it."""
WINDOW_PATCHES: Final = 64
"""Patches per word, one bit each."""
WINDOWS: Final = -(-BLOCK_PATCHES // WINDOW_PATCHES)
SEGMENT_BLOCKS: Final = 2048
_SEGMENT_SHIFT: Final = 11
CACHE_LINE_BYTES: Final = 64
"""Blocks and columns begin at a cache line: a vector across two lines would take two reads."""


class Arena:
    """Segments of blocks, and the list of free blocks. Used by one writer at a time."""

    def __init__(self, words: int) -> None:
        self.words = words
        self.block_bytes = CACHE_LINE_BYTES + BLOCK_PATCHES * (8 * words + 16)
        self.bases: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        """Addresses of the segments; replaced, never changed, when a segment is added."""
        self.written_for: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        """For each block, the version of the index for which it was last allocated."""
        self._segments: list[NDArray[np.uint8]] = []
        self._next = 0
        self._free: list[int] = []

    def allocate(self, count: int, version: int = 0) -> NDArray[np.int32]:
        """Return the numbers of ``count`` blocks of undefined content, for a coming version."""
        fresh = max(0, count - len(self._free))
        while self._next + fresh > len(self._segments) * SEGMENT_BLOCKS:
            # Memory is not touched here: the system provides pages as blocks are filled.
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
        """Free blocks that nobody reads any more."""
        self._free.extend(blocks.tolist())

    @property
    def used_blocks(self) -> int:
        """Number of blocks that are not free."""
        return self._next - len(self._free)


@inlined
def block_address(bases: Int64s, block: int, words: int) -> int:
    """Return the address of a block."""
    within = block & (SEGMENT_BLOCKS - 1)
    size = CACHE_LINE_BYTES + BLOCK_PATCHES * (8 * words + 16)
    return int(bases[block >> _SEGMENT_SHIFT]) + within * size


@inlined
def changes_of(address: int) -> Words:
    """View the bits of the block at an address that tell where a key begins.

    Slot ``s`` has bit ``s % WINDOW_PATCHES`` of word ``s // WINDOW_PATCHES``. Slot 0 always has its
    bit set; the bits of slots that hold no patch have no meaning.
    """
    return carray(pointer(address), (WINDOWS,), np.uint64)


@inlined
def textures_of(address: int, words: int) -> Words:
    """View the textures of the block at an address: [word, slot]."""
    return carray(pointer(texture_at(address, 0)), (words, BLOCK_PATCHES), np.uint64)


@inlined
def texture_at(address: int, slot: int) -> int:
    """Return the address of a slot's first texture word; the next is `WORD_BYTES` further."""
    return address + CACHE_LINE_BYTES + 8 * slot


@inlined
def texture_from(address: int, words: int) -> Words:
    """View the texture whose first word is at an address."""
    return carray(pointer(address), (words, BLOCK_PATCHES), np.uint64)[:, 0]


@inlined
def keys_of(address: int, words: int) -> Int64s:
    """View the keys of the block at an address."""
    return carray(pointer(texture_at(address, 0) + words * WORD_BYTES), (BLOCK_PATCHES,), np.int64)


@inlined
def slides_of(address: int, words: int) -> Int32s:
    """View the slide numbers of the block at an address."""
    begin = texture_at(address, 0) + (words + 1) * WORD_BYTES
    return carray(pointer(begin), (BLOCK_PATCHES,), np.int32)


@inlined
def patches_of(address: int, words: int) -> Int32s:
    """View the patch indices of the block at an address."""
    begin = texture_at(address, 0) + (words + 1) * WORD_BYTES + 4 * BLOCK_PATCHES
    return carray(pointer(begin), (BLOCK_PATCHES,), np.int32)


@inlined
def put_key(address: int, slot: int, words: int, key: int) -> None:
    """Write the key of a slot, and whether it changes there. Slots are written in order."""
    keys, changes = keys_of(address, words), changes_of(address)
    window, bit = slot // WINDOW_PATCHES, np.uint64(1) << np.uint64(slot % WINDOW_PATCHES)
    if slot % WINDOW_PATCHES == 0:
        changes[window] = 0
    if slot == 0 or keys[slot - 1] != key:
        changes[window] |= bit
    keys[slot] = key


@inlined
def leading_words(words: int, bound: int) -> int:
    """Return how many words of a texture to compare first, when looking for those within a bound.

    Textures of other tissue differ in about half of their bits. These words alone put such a
    texture beyond the bound: half of their bits, less three and a half standard deviations.
    """
    leading = 1
    while leading < words and 32 * leading - 14 * math.sqrt(leading) <= bound:
        leading += 1
    return leading
