"""Finding places in the block directory, compiled: where the patches of a key begin."""

# Compiled functions take columns one by one.
# ruff: noqa: PLR0917

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from slidekin_server.compiled import Int32s, Int64s, kernel, part
from slidekin_server.index.instructions import prefetch
from slidekin_server.index.memory import block_address, keys_of, patches_of, slides_of

Columns: TypeAlias = tuple[Int64s, Int32s, Int32s]
"""A directory: first keys, block numbers and counts."""


@kernel
def lower_bound(
    first_keys: Int64s, blocks: Int32s, counts: Int32s, bases: Int64s, words: int, key: int
) -> tuple[int, int]:
    """Find the first patch whose key is >= ``key``: (place in the directory, slot). O(log n)."""
    place = np.searchsorted(first_keys, key) - 1
    if place < 0:
        return 0, 0
    keys = keys_of(block_address(bases, blocks[place], words), words)
    slot = np.searchsorted(keys[: counts[place]], key)
    return (int(place), int(slot)) if slot < counts[place] else (int(place + 1), 0)


@part
def lower_bounds(
    first_keys: Int64s, blocks: Int32s, counts: Int32s, bases: Int64s, words: int, keys: Int64s
) -> Int64s:
    """Find the first patch whose key is >= each of several keys. O(keys * log n).

    Step by step for all of them, so that their waits for memory overlap.

    Returns:
        Shape (keys, 2): place in the directory and slot, as `lower_bound` returns them.
    """
    found = np.zeros((len(keys), 2), dtype=np.int64)
    if len(blocks) == 0:
        return found
    places = found[:, 0]
    # The last block that begins before the key, by halving what it may be.
    left = len(first_keys)
    while left > 1:
        half = left // 2
        for entry in range(len(keys)):
            middle = places[entry] + half
            places[entry] = middle if first_keys[middle] < keys[entry] else places[entry]
        left -= half
    for entry in range(len(keys)):
        own = keys_of(block_address(bases, blocks[places[entry]], words), words).ctypes.data
        count = counts[places[entry]]
        for quarter in range(1, 4):
            prefetch(own + 2 * quarter * count)
    for entry in range(len(keys)):
        place = places[entry]
        own_keys = keys_of(block_address(bases, blocks[place], words), words)
        slot = np.searchsorted(own_keys[: counts[place]], keys[entry])
        if slot == counts[place]:
            places[entry] += 1
        else:
            found[entry, 1] = slot
    return found


@kernel
def block_holding(
    first_keys: Int64s, blocks: Int32s, bases: Int64s, words: int, key: int, slide: int, patch: int
) -> int:
    """Find the last block that begins at or before this patch; the first block if none does."""
    place = np.searchsorted(first_keys, key, side="right") - 1
    while place > 0 and first_keys[place] == key:
        address = block_address(bases, blocks[place], words)
        first_slide = slides_of(address, words)[0]
        if first_slide < slide or (first_slide == slide and patches_of(address, words)[0] <= patch):
            break
        place -= 1
    return int(place) if place > 0 else 0
