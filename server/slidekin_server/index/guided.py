"""The guided walk (SISH: Chen et al. 2022, doi 10.1038/s41551-022-00929-8), compiled.

From seeds around the query's key the walk looks at the nearest keys below and above, and accepts a
key where the best of its patches lies within the threshold. Work is bounded by the number of seeds
and steps, whatever the size of the index. Patches lie sorted in blocks with their textures side by
side: after one look-up a walk goes through block after block, and compares the leading words of all
textures that it may come to in one of them before it takes its steps there.
"""

# Compiled functions take columns one by one, and branch where a call would cost or need a copy.
# ruff: noqa: C901, FBT001, PLR0912, PLR0915, PLR0917

from __future__ import annotations

import numpy as np

from slidekin_server.index.blocks import lower_bound
from slidekin_server.index.compiled import (
    Bytes,
    Hits,
    Int32s,
    Int64s,
    Words,
    add_distances,
    inlined,
    kernel,
    part,
    prefetch,
)
from slidekin_server.index.memory import (
    BLOCK_PATCHES,
    GROUP_PATCHES,
    WORD_BYTES,
    block_address,
    keys_of,
    leading_words,
    patches_of,
    slides_of,
    texture_at,
)

_MAX_KEY = 2**63 - 1
_FAR = 2**31 - 1
_BEYOND = -(2**63)
"""Stands for a seed that is greater than every key can be."""


@inlined
def _accepted_up_to(keys: Int64s, size: int, last: int) -> int:
    """Return the greatest of ``size`` accepted keys that is <= ``last``, -1 where there is none."""
    nearest = np.int64(-1)
    for hit in range(size):
        nearest = max(nearest, keys[hit] if keys[hit] <= last else np.int64(-1))
    return int(nearest)


@inlined
def _accepted_from(keys: Int64s, size: int, first: int) -> int:
    """Return the least of ``size`` accepted keys that is >= ``first``, -1 where there is none."""
    nearest = np.int64(_MAX_KEY)
    found = False
    for hit in range(size):
        found |= bool(keys[hit] >= first)
        nearest = min(nearest, keys[hit] if keys[hit] >= first else np.int64(_MAX_KEY))
    return int(nearest) if found else -1


@part
def _with_room(keys: Int64s, hits: Int64s, size: int, steps: int) -> tuple[Int64s, Int64s]:
    """Return the hits with room for another walk's, in larger arrays where they fill theirs."""
    if size + steps <= len(hits):
        return keys, hits
    larger_keys = np.empty(2 * (size + steps), dtype=np.int64)
    larger_hits = np.empty((2 * (size + steps), 3), dtype=np.int64)
    larger_keys[:size] = keys[:size]
    larger_hits[:size] = hits[:size]
    return larger_keys, larger_hits


@inlined
def _keys_closed(
    address: int, group: int, slot: int, key: int, stop_key: int, otherwise: int
) -> int:
    """Count the keys that a walk leaves behind in a group that it enters with ``key`` at ``slot``.

    Returns ``otherwise`` where the group holds ``stop_key``, which is a key of the index.
    """
    keys = keys_of(address + 8 * group)
    if keys[0] <= stop_key <= keys[GROUP_PATCHES - 1]:
        return otherwise
    closed = 0 if key == -1 else int(keys[slot - group] != key)
    for lane in range(GROUP_PATCHES - 1):
        closed += int(keys[lane] != keys[lane + 1])
    return closed


@inlined
def _ask_for(address: int, begin: int, end: int, count: int, words: int) -> None:
    """Ask memory for a block's keys and leading words, from slot ``begin`` to ``end``.

    Slots that the block, which holds ``count`` patches, does not have are left out.
    """
    begin, end = max(begin, 0), min(end, count)
    begin -= begin % GROUP_PATCHES
    for slot in range(begin, end, GROUP_PATCHES):
        prefetch(address + 8 * slot)
    for word in range(leading_words(words)):
        for slot in range(begin, end, GROUP_PATCHES):
            prefetch(texture_at(address, slot) + word * WORD_BYTES)


@part
def _compare_leading(
    address: int,
    begin: int,
    end: int,
    query: int,
    words: int,
    threshold: int,
    distances: Int32s,
    least_of_group: Int64s,
) -> None:
    """Write distances by leading words, from slot ``begin``, where a group begins, to ``end``.

    Memory is asked for the rest of each group that these do not refuse, while others are compared.
    """
    leading = leading_words(words)
    distances[:] = 0
    for slot in range(begin, end, GROUP_PATCHES):
        group = texture_at(address, slot)
        least = add_distances(group, WORD_BYTES, query, leading, distances.ctypes.data + 4 * slot)
        least_of_group[slot // GROUP_PATCHES] = least
        if least <= threshold:
            for word in range(leading, words):
                prefetch(group + word * WORD_BYTES)
            prefetch(slides_of(address).ctypes.data + 4 * slot)
            prefetch(patches_of(address).ctypes.data + 4 * slot)


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
    stop_key: int,
    threshold: int,
    distances: Int32s,
    least_of_group: Int64s,
    found_keys: Int64s,
    found: Int64s,
    size: int,
) -> int:
    """Walk from a slot upward (direction 1) or downward (-1) until a reason to stop.

    ``query`` is the address of the query's texture. With ``only_key`` >= 0 any other key is a
    reason to stop, and so is ``stop_key``: the accepted key that is nearest in this direction, thus
    the first that the walk could come to. A key's patches are a run of slots. Of equal distances
    the first in order of insertion counts: walking downward that is the last one met.

    Most groups are refused by their leading words. Distances of these are less than they are, but
    beyond the threshold all the same, and no more is asked of them.

    ``distances`` and ``least_of_group`` are for use here: an entry for each patch and each group of
    a block. Hits are added to ``found_keys`` and ``found`` (distance, slide, patch), which hold
    ``size`` and have room.

    Returns:
        How many they hold then.
    """
    key = -1
    best, best_address, best_slot = _FAR, 0, 0
    slack = 0 if direction == 1 else 1
    leading = leading_words(words)
    # A whole group without a hit is passed at once; that needs each of its patches to count.
    passing = len(admitted) == 0 and only_key < 0
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
        count = counts[place]
        # The block's groups that the steps left may come to; most keys have one patch.
        if direction == 1:
            begin, end = slot, min(slot + steps, count)
        else:
            begin, end = max(slot + 1 - steps, 0), slot + 1
        begin -= begin % GROUP_PATCHES
        end = min(end + -end % GROUP_PATCHES, count)
        # What the walk needs of the block that comes next is asked for meanwhile.
        following = place + direction
        rest = steps - (end - begin)
        if rest > 0 and 0 <= following < len(blocks):
            beyond = block_address(bases, blocks[following], words)
            first = 0 if direction == 1 else counts[following] - rest
            _ask_for(beyond, first, first + rest, counts[following], words)
        _compare_leading(address, begin, end, query, words, threshold, distances, least_of_group)
        stop = end if direction == 1 else begin - 1
        while slot != stop:
            group = slot - slot % GROUP_PATCHES
            least = least_of_group[group // GROUP_PATCHES]
            if least <= threshold:
                other = texture_at(address, group) + leading * WORD_BYTES
                asked, out = query + 8 * leading, distances.ctypes.data + 4 * group
                least = add_distances(other, WORD_BYTES, asked, words - leading, out)
            whole = slot == group if direction == 1 else slot == group + GROUP_PATCHES - 1
            whole &= group + GROUP_PATCHES <= count
            closed = steps
            if passing and whole and least > threshold and best > threshold:
                closed = _keys_closed(address, group, slot, key, stop_key, steps)
            if closed < steps:
                steps -= closed
                slot += direction * GROUP_PATCHES
                key, best = keys[slot - direction], _FAR
                continue
            beyond_group = min(group + GROUP_PATCHES, count) if direction == 1 else group - 1
            while slot != beyond_group:
                if len(admitted) == 0 or admitted[slides_of(address)[slot]]:
                    if keys[slot] != key:
                        if key != -1:
                            if best <= threshold:
                                _write(found_keys, found, size, key, best, best_address, best_slot)
                                size += 1
                            steps -= 1
                        key = keys[slot]
                        best = _FAR
                        if steps == 0 or key == stop_key:
                            return size
                        if only_key >= 0 and key != only_key:
                            return size
                    bits = distances[slot]
                    if bits < best + slack:
                        best, best_address, best_slot = bits, address, slot
                slot += direction
        if slot < 0 or slot == count:
            place += direction
            if direction == 1:
                slot = 0
            elif place >= 0:
                slot = counts[place] - 1
    if key != -1 and best <= threshold:
        _write(found_keys, found, size, key, best, best_address, best_slot)
        size += 1
    return size


@inlined
def _write(
    found_keys: Int64s,
    found: Int64s,
    size: int,
    key: int,
    distance: int,
    address: int,
    slot: int,
) -> None:
    found_keys[size] = key
    found[size, 0] = distance
    found[size, 1] = slides_of(address)[slot]
    found[size, 2] = patches_of(address)[slot]


@part
def _look_up_seeds(
    first_keys: Int64s,
    blocks: Int32s,
    counts: Int32s,
    bases: Int64s,
    words: int,
    query_key: int,
    spacing: int,
    seeds: int,
    successor_steps: int,
    predecessor_steps: int,
) -> Int64s:
    """Find where every seed's walks begin, and ask memory for what lies there.

    All of it at once, before the first walk: the walks then wait for memory one time less each.

    Returns:
        Shape (2 * seeds, 3), in the order of the walks: the seed, and the first patch whose key is
        not less, as place in the directory and slot.
    """
    starts = np.empty((2 * seeds, 3), dtype=np.int64)
    for turn in range(2 * seeds):
        offset = (turn % seeds) * spacing
        seed = query_key - offset
        if turn >= seeds:
            seed = query_key + offset if query_key <= _MAX_KEY - offset else _BEYOND
        place, slot = len(blocks), 0
        if seed != _BEYOND:
            place, slot = lower_bound(first_keys, blocks, counts, bases, words, seed)
        if place < len(blocks):
            address = block_address(bases, blocks[place], words)
            _ask_for(
                address, slot - predecessor_steps, slot + successor_steps, counts[place], words
            )
        starts[turn, 0], starts[turn, 1], starts[turn, 2] = seed, place, slot
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
    size = 0
    steps = max(successor_steps, predecessor_steps, 1)
    steps = min(steps, patches)
    keys = np.empty(4 * steps, dtype=np.int64)
    hits = np.empty((4 * steps, 3), dtype=np.int64)
    distances = np.empty(BLOCK_PATCHES, dtype=np.int32)
    least_of_group = np.empty(BLOCK_PATCHES // GROUP_PATCHES, dtype=np.int64)
    starts = _look_up_seeds(
        first_keys, blocks, counts, bases, words, query_key, spacing, seeds,
        successor_steps, predecessor_steps,
    )  # fmt: skip
    for turn in range(2 * seeds):
        # A seed's three walks bring at most one hit a step and one for its own key.
        keys, hits = _with_room(keys, hits, size, 2 * steps + 1)
        seed, low_place, low_slot = starts[turn]
        high_place, high_slot = low_place, low_slot
        # The walks go over keys <= last and keys >= first.
        last, first = seed - 1, seed
        if seed == _BEYOND:
            last = first = _MAX_KEY
        elif (
            low_place < len(blocks)
            and keys_of(block_address(bases, blocks[low_place], words))[low_slot] == seed
        ):
            if seed < _MAX_KEY:
                first = seed + 1
                high_place, high_slot = lower_bound(first_keys, blocks, counts, bases, words, first)
            else:
                high_place, high_slot = len(blocks), 0
            if include_seed_key:
                # Accepted from an earlier seed: the walk ends on it at once.
                size = _walk(
                    blocks, counts, bases, words, texture, admitted, following,
                    low_place, low_slot, 1, 1, seed, _accepted_from(keys, size, seed),
                    threshold, distances, least_of_group, keys, hits, size,
                )  # fmt: skip
        low_slot -= 1
        if low_slot < 0:
            low_place -= 1
            low_slot = counts[low_place] - 1 if low_place >= 0 else 0
        size = _walk(
            blocks, counts, bases, words, texture, admitted, preceding,
            low_place, low_slot, -1, predecessor_steps, -1, _accepted_up_to(keys, size, last),
            threshold, distances, least_of_group, keys, hits, size,
        )  # fmt: skip
        size = _walk(
            blocks, counts, bases, words, texture, admitted, following,
            high_place, high_slot, 1, successor_steps, -1, _accepted_from(keys, size, first),
            threshold, distances, least_of_group, keys, hits, size,
        )  # fmt: skip
    return _sorted_by_distance(keys[:size], hits[:size], 64 * words)


@part
def _sorted_by_distance(keys: Int64s, hits: Int64s, bits: int) -> Hits:
    """Sort hits by distance, stably: a counting sort. O(hits + bits)."""
    starts = np.zeros(bits + 2, dtype=np.int64)
    for hit in range(len(hits)):
        starts[hits[hit, 0] + 1] += 1
    for distance in range(bits + 1):
        starts[distance + 1] += starts[distance]
    sorted_keys = np.empty(len(hits), dtype=np.int64)
    distances = np.empty(len(hits), dtype=np.int32)
    slides = np.empty(len(hits), dtype=np.int64)
    patches = np.empty(len(hits), dtype=np.int32)
    for hit in range(len(hits)):
        to = starts[hits[hit, 0]]
        starts[hits[hit, 0]] += 1
        sorted_keys[to] = keys[hit]
        distances[to] = hits[hit, 0]
        slides[to] = hits[hit, 1]
        patches[to] = hits[hit, 2]
    return sorted_keys, distances, slides, patches
