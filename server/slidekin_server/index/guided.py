"""The guided walk (SISH: Chen et al. 2022, doi 10.1038/s41551-022-00929-8), compiled.

From seeds around the query's key the walk looks at the nearest keys below and above, and accepts a
key where the best of its patches lies within the threshold. Work is bounded by the number of seeds
and steps, whatever the size of the index. Patches lie sorted in blocks with their textures side by
side: after one look-up a walk is a sequential read.
"""

# Compiled functions take columns one by one, and branch where a call would cost or need a copy.
# ruff: noqa: C901, FBT001, PLR0912, PLR0917

from __future__ import annotations

import numpy as np

from slidekin_server.index.blocks import lower_bound
from slidekin_server.index.compiled import (
    Bytes,
    Hits,
    Int32s,
    Int64s,
    Words,
    distance_bits,
    inlined,
    kernel,
    part,
    prefetch,
)
from slidekin_server.index.memory import (
    block_address,
    keys_of,
    patches_of,
    slides_of,
    texture_at,
)

_MAX_KEY = 2**63 - 1
_FAR = 2**31 - 1
_PREFETCH_AHEAD = 16
"""Patches between asking memory for a texture and comparing it; the processor's own guess stops at
each page."""
_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


@inlined
def _slot_of(table: Int64s, key: int) -> int:
    """Find the key's slot in the open-addressed table: its own, or the free one it would take."""
    mask = len(table) - 1
    slot = np.int64((np.uint64(key) * _GOLDEN_RATIO) >> np.uint64(32)) & mask
    while table[slot] != -1 and table[slot] != key:
        slot = (slot + 1) & mask
    return int(slot)


@part
def _grown(table: Int64s) -> Int64s:
    larger = np.full(2 * len(table), -1, dtype=np.int64)
    for key in table:
        if key != -1:
            larger[_slot_of(larger, key)] = key
    return larger


@part
def _remember(table: Int64s, hits: Int64s, begin: int, end: int) -> Int64s:
    """Note the keys of one walk's hits; return the table, a larger one where it was full."""
    while 2 * end > len(table):
        table = _grown(table)
    for hit in range(begin, end):
        table[_slot_of(table, hits[hit, 0])] = hits[hit, 0]
    return table


@part
def _with_room(hits: Int64s, size: int, steps: int) -> Int64s:
    """Return the hits with room for another walk's, in a larger array where they fill theirs."""
    if size + steps <= len(hits):
        return hits
    larger = np.empty((2 * (size + steps), 4), dtype=np.int64)
    larger[:size] = hits[:size]
    return larger


@part
def _walk(
    blocks: Int32s,
    counts: Int32s,
    bases: Int64s,
    words: int,
    query: int,
    admitted: Bytes,
    skip: Int32s,
    place: int,
    slot: int,
    direction: int,
    steps: int,
    only_key: int,
    threshold: int,
    table: Int64s,
    found: Int64s,
) -> int:
    """Walk from a slot upward (direction 1) or downward (-1) until a reason to stop.

    ``query`` is the address of the query's texture. With ``only_key`` >= 0 any other key is such a
    reason. A key's patches are a run of slots. Of equal distances the first in order of insertion
    counts: walking downward that is the last one met. One walk meets no key twice, so its own hits
    need not be in ``table`` while it goes on.

    Returns:
        Number of hits written to ``found``, shape (steps or patches, 4).
    """
    size = 0
    key, best, best_slide, best_patch = -1, _FAR, 0, 0
    slack = 0 if direction == 1 else 1
    while 0 <= place < len(blocks) and steps > 0:
        if len(skip) and skip[place] != place:
            place = skip[place]
            if direction == 1:
                slot = 0
            elif place >= 0:
                slot = counts[place] - 1
            continue
        address = block_address(bases, blocks[place], words)
        keys = keys_of(address)
        slides = slides_of(address)
        patches = patches_of(address)
        end = counts[place] if direction == 1 else -1
        while slot != end:
            slide = slides[slot]
            if len(admitted) == 0 or admitted[slide]:
                if keys[slot] != key:
                    if key != -1:
                        if best <= threshold:
                            _write(found, size, key, best, best_slide, best_patch)
                            size += 1
                        steps -= 1
                    key = keys[slot]
                    best = _FAR
                    if steps == 0 or table[_slot_of(table, key)] == key:
                        return size
                    if only_key >= 0 and key != only_key:
                        return size
                ahead = texture_at(address, slot + direction * _PREFETCH_AHEAD, words)
                for line in range(0, 8 * words, 64):
                    prefetch(ahead + line)
                bits = distance_bits(texture_at(address, slot, words), query, words)
                if bits < best + slack:
                    best = bits
                    best_slide = slide
                    best_patch = patches[slot]
            slot += direction
        place += direction
        if direction == 1:
            slot = 0
        elif place >= 0:
            slot = counts[place] - 1
    if key != -1 and best <= threshold:
        _write(found, size, key, best, best_slide, best_patch)
        size += 1
    return size


@inlined
def _write(found: Int64s, size: int, key: int, distance: int, slide: int, patch: int) -> None:
    found[size, 0] = key
    found[size, 1] = distance
    found[size, 2] = slide
    found[size, 3] = patch


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
        words: Words a texture.
        patches: Number of patches in the directory.
        query_key: The query's key.
        query: Shape (words,), uint64: the query's texture.
        spacing: Distance between seeds, in keys.
        seeds: Seeds on each side.
        successor_steps: Steps upward from each seed.
        predecessor_steps: Steps downward from each seed.
        threshold: Largest distance of a hit, in bits.
        include_seed_key: Whether to look at the seeds' own keys.
        admitted: Bitmap by slide number; empty where every slide is admitted.
        following: Per place the next block with an admitted patch; empty to look into all blocks.
        preceding: The same downward.

    Returns:
        keys, distances, slides, patches: sorted by distance, ties in order of discovery.
    """
    texture = query.ctypes.data
    table = np.full(4096, -1, dtype=np.int64)
    size = 0
    steps = max(successor_steps, predecessor_steps, 1)
    steps = min(steps, patches)
    hits = np.empty((4 * steps, 4), dtype=np.int64)
    for turn in range(2 * seeds):
        # A seed's three walks bring at most one hit a step and one for its own key.
        hits = _with_room(hits, size, 2 * steps + 1)
        offset = (turn % seeds) * spacing
        above = turn >= seeds and query_key > _MAX_KEY - offset
        seed = _MAX_KEY if above else query_key + (offset if turn >= seeds else -offset)
        if above:
            low_place, low_slot = len(blocks), 0
            high_place, high_slot = len(blocks), 0
        else:
            low_place, low_slot = lower_bound(first_keys, blocks, counts, bases, words, seed)
            high_place, high_slot = low_place, low_slot
            if (
                low_place < len(blocks)
                and keys_of(block_address(bases, blocks[low_place], words))[low_slot] == seed
            ):
                if seed < _MAX_KEY:
                    high_place, high_slot = lower_bound(
                        first_keys, blocks, counts, bases, words, seed + 1
                    )
                else:
                    high_place, high_slot = len(blocks), 0
                if include_seed_key and table[_slot_of(table, seed)] != seed:
                    taken = _walk(
                        blocks, counts, bases, words, texture, admitted, following,
                        low_place, low_slot, 1, 1, seed, threshold, table, hits[size:],
                    )  # fmt: skip
                    table = _remember(table, hits, size, size + taken)
                    size += taken
        low_slot -= 1
        if low_slot < 0:
            low_place -= 1
            low_slot = counts[low_place] - 1 if low_place >= 0 else 0
        taken = _walk(
            blocks, counts, bases, words, texture, admitted, preceding,
            low_place, low_slot, -1, predecessor_steps, -1, threshold, table, hits[size:],
        )  # fmt: skip
        table = _remember(table, hits, size, size + taken)
        size += taken
        taken = _walk(
            blocks, counts, bases, words, texture, admitted, following,
            high_place, high_slot, 1, successor_steps, -1, threshold, table, hits[size:],
        )  # fmt: skip
        table = _remember(table, hits, size, size + taken)
        size += taken
    return _sorted_by_distance(hits[:size], 64 * words)


@part
def _sorted_by_distance(hits: Int64s, bits: int) -> Hits:
    """Sort hits by distance, stably: a counting sort. O(hits + bits)."""
    starts = np.zeros(bits + 2, dtype=np.int64)
    for hit in range(len(hits)):
        starts[hits[hit, 1] + 1] += 1
    for distance in range(bits + 1):
        starts[distance + 1] += starts[distance]
    keys = np.empty(len(hits), dtype=np.int64)
    distances = np.empty(len(hits), dtype=np.int32)
    slides = np.empty(len(hits), dtype=np.int64)
    patches = np.empty(len(hits), dtype=np.int32)
    for hit in range(len(hits)):
        to = starts[hits[hit, 1]]
        starts[hits[hit, 1]] += 1
        keys[to] = hits[hit, 0]
        distances[to] = hits[hit, 1]
        slides[to] = hits[hit, 2]
        patches[to] = hits[hit, 3]
    return keys, distances, slides, patches
