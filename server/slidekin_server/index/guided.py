"""The guided walk (SISH: Chen et al. 2022, doi 10.1038/s41551-022-00929-8), compiled.

From seeds around the query's key, the search looks at the nearest keys below and above (`walk`). It
accepts a key if the best of its patches is within the threshold. The number of seeds and steps
bounds the work, whatever the size of the index.
"""

# Compiled functions take columns one by one, and branch where a call would cost or need a copy.
# ruff: noqa: FBT001, PLR0917

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from slidekin_server.compiled import Bytes, Int32s, Int64s, Words, inlined, kernel, part
from slidekin_server.index.memory import block_address, keys_of, leading_words
from slidekin_server.index.places import lower_bound, lower_bounds
from slidekin_server.index.walk import (
    DOWN,
    UP,
    Blocks,
    Found,
    Question,
    ask_for,
    new_comparison,
    walk,
)

Hits: TypeAlias = tuple[Int64s, Int32s, Int64s, Int32s]
"""Hits: keys, distances, slides, patch indices."""
_MAX_KEY = 2**63 - 1
_BEYOND = -(2**63)
"""Value of a seed that is greater than any possible key."""


@inlined
def _accepted_up_to(keys: Int64s, size: int, last: int) -> int:
    """Return the greatest of ``size`` accepted keys that is <= ``last``, -1 if there is none."""
    nearest = np.int64(-1)
    for hit in range(size):
        nearest = max(nearest, keys[hit] if keys[hit] <= last else np.int64(-1))
    return int(nearest)


@inlined
def _accepted_from(keys: Int64s, size: int, first: int) -> int:
    """Return the least of ``size`` accepted keys that is >= ``first``, -1 if there is none."""
    nearest = np.int64(_MAX_KEY)
    found = False
    for hit in range(size):
        found |= bool(keys[hit] >= first)
        nearest = min(nearest, keys[hit] if keys[hit] >= first else np.int64(_MAX_KEY))
    return int(nearest) if found else -1


@part
def _with_room(found: Found, size: int, steps: int) -> Found:
    """Return the hits with room for those of another walk, in larger arrays if necessary."""
    if size + steps <= len(found.keys):
        return found
    larger = _room(2 * (size + steps))
    larger.keys[:size] = found.keys[:size]
    larger.rows[:size] = found.rows[:size]
    return larger


@inlined
def _room(size: int) -> Found:
    return Found(np.empty(size, dtype=np.int64), np.empty((size, 3), dtype=np.int64))


@part
def _look_up_seeds(
    first_keys: Int64s,
    blocks: Blocks,
    leading: int,
    query_key: int,
    spacing: int,
    seeds: int,
    successor_steps: int,
    predecessor_steps: int,
) -> Int64s:
    """Find where every seed's walks begin, and prefetch the first two blocks of each.

    This is done for all seeds before the first walk, which saves each walk one wait for memory.

    Returns:
        Shape (2 * seeds, 3), in the order of the walks: the seed, and the first patch whose key is
        >= the seed, as place in the directory and slot.
    """
    starts = np.empty((2 * seeds, 3), dtype=np.int64)
    for turn in range(2 * seeds):
        offset = (turn % seeds) * spacing
        starts[turn, 0] = query_key - offset
        if turn >= seeds:
            starts[turn, 0] = query_key + offset if query_key <= _MAX_KEY - offset else _BEYOND
    starts[:, 1:] = lower_bounds(
        first_keys, blocks.numbers, blocks.counts, blocks.bases, blocks.words, starts[:, 0]
    )
    size = len(first_keys)
    for turn in range(2 * seeds):
        if starts[turn, 0] == _BEYOND:
            starts[turn, 1], starts[turn, 2] = size, 0
        place, slot = starts[turn, 1], starts[turn, 2]
        if place < size:
            first, last = slot - predecessor_steps, slot + successor_steps
            ask_for(blocks, place, first, last, leading)
            if place > 0:
                count = blocks.counts[place - 1]
                ask_for(blocks, place - 1, first + count, count, leading)
            if place + 1 < size:
                ask_for(blocks, place + 1, 0, last - blocks.counts[place], leading)
    return starts


@kernel
def guided_hits(
    first_keys: Int64s,
    blocks: Int32s,
    counts: Int32s,
    bases: Int64s,
    words: int,
    patches: int,
    query_key: int,
    query: Words,
    spacing: int,
    seeds: int,
    successor_steps: int,
    predecessor_steps: int,
    threshold: int,
    include_seed_key: bool,
    admitted: Bytes,
    following: Int32s,
    preceding: Int32s,
) -> Hits:
    """Find the bag of one query patch.

    Args:
        first_keys: The directory's first keys.
        blocks: The directory's block numbers.
        counts: The directory's counts.
        bases: Addresses of the arena's segments.
        words: Words per texture.
        patches: Number of patches in the directory.
        query_key: The query's key.
        query: Shape (words,), uint64: the query's texture.
        spacing: Distance between seeds, in keys.
        seeds: Seeds on each side.
        successor_steps: Steps upward from each seed.
        predecessor_steps: Steps downward from each seed.
        threshold: Largest distance of a hit, in bits.
        include_seed_key: Whether to look at the seeds' own keys.
        admitted: Bitmap by slide number; empty if every slide is admitted.
        following: Per place, the next block with an admitted patch; empty to search all blocks.
        preceding: The same downward.

    Returns:
        keys, distances, slides, patches: sorted by distance, ties in order of discovery.
    """
    directory = Blocks(blocks, counts, bases, words)
    leading = leading_words(words, threshold)
    question = Question(query.ctypes.data, threshold, leading, admitted)
    comparison = new_comparison()
    steps = min(max(successor_steps, predecessor_steps, 1), patches)
    found, size = _room(4 * steps), 0
    starts = _look_up_seeds(
        first_keys, directory, leading, query_key, spacing, seeds,
        successor_steps, predecessor_steps,
    )  # fmt: skip
    for turn in range(2 * seeds):
        # A seed's three walks give at most one hit per step, and one for its own key.
        found = _with_room(found, size, 2 * steps + 1)
        seed, low_place, low_slot = starts[turn]
        high_place, high_slot = low_place, low_slot
        # The walks go over keys <= last and keys >= first.
        last, first = seed - 1, seed
        if seed == _BEYOND:
            last = first = _MAX_KEY
        elif (
            low_place < len(blocks)
            and keys_of(block_address(bases, blocks[low_place], words), words)[low_slot] == seed
        ):
            if seed < _MAX_KEY:
                first = seed + 1
                high_place, high_slot = lower_bound(first_keys, blocks, counts, bases, words, first)
            else:
                high_place, high_slot = len(blocks), 0
            if include_seed_key:
                # An earlier seed accepted it: the walk ends on it at once.
                size = walk(
                    directory, question, following, low_place, low_slot, UP,
                    1, seed, _accepted_from(found.keys, size, seed), comparison, found, size,
                )  # fmt: skip
        low_slot -= 1
        if low_slot < 0:
            low_place -= 1
            low_slot = counts[low_place] - 1 if low_place >= 0 else 0
        size = walk(
            directory, question, preceding, low_place, low_slot, DOWN,
            predecessor_steps + 1, -1, _accepted_up_to(found.keys, size, last),
            comparison, found, size,
        )  # fmt: skip
        size = walk(
            directory, question, following, high_place, high_slot, UP,
            successor_steps + 1, -1, _accepted_from(found.keys, size, first),
            comparison, found, size,
        )  # fmt: skip
    furthest = min(threshold, 64 * words)
    return _sorted_by_distance(found.keys[:size], found.rows[:size], furthest)


@part
def _sorted_by_distance(keys: Int64s, rows: Int64s, furthest: int) -> Hits:
    """Sort hits by distance, stably: a counting sort. O(hits + furthest)."""
    starts = np.zeros(furthest + 2, dtype=np.int64)
    for hit in range(len(keys)):
        starts[rows[hit, 0] + 1] += 1
    for distance in range(furthest + 1):
        starts[distance + 1] += starts[distance]
    sorted_keys = np.empty(len(keys), dtype=np.int64)
    distances = np.empty(len(keys), dtype=np.int32)
    slides = np.empty(len(keys), dtype=np.int64)
    patches = np.empty(len(keys), dtype=np.int32)
    for hit in range(len(keys)):
        to = starts[rows[hit, 0]]
        starts[rows[hit, 0]] += 1
        sorted_keys[to] = keys[hit]
        distances[to] = rows[hit, 0]
        slides[to] = rows[hit, 1]
        patches[to] = rows[hit, 2]
    return sorted_keys, distances, slides, patches
