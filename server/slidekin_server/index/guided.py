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
    changes,
    inlined,
    kernel,
    lowest_bit,
    part,
    popcount,
    prefetch,
    reversed_bits,
)
from slidekin_server.index.memory import (
    BLOCK_PATCHES,
    GROUP_PATCHES,
    WINDOW_PATCHES,
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
_ALL = np.uint64(2**64 - 1)
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
def _ask_for_group(address: int, slot: int, leading: int) -> None:
    """Ask memory for the keys and leading words of the group that begins at a slot."""
    prefetch(address + 8 * slot)
    group = texture_at(address, slot)
    for word in range(leading):
        prefetch(group + word * WORD_BYTES)


@part
def _ask_for(address: int, begin: int, end: int, count: int, words: int) -> None:
    """Ask memory for a block's keys and leading words, from slot ``begin`` to ``end``.

    Slots that the block, which holds ``count`` patches, does not have are left out.
    """
    begin, end = max(begin, 0), min(end, count)
    begin -= begin % GROUP_PATCHES
    for slot in range(begin, end, GROUP_PATCHES):
        _ask_for_group(address, slot, leading_words(words))


@part
def _compare(
    address: int,
    begin: int,
    end: int,
    query: int,
    words: int,
    threshold: int,
    ahead: int,
    ahead_begin: int,
    ahead_end: int,
    distances: Int32s,
    near: Words,
) -> None:
    """Write distances and a bit for each patch within the threshold, from slot ``begin`` to ``end``.

    Slots beside these that share a group with them may get theirs as well. Most groups are refused by their leading words. Distances of
    these are less than they are, but beyond the threshold all the same, and no more is asked of
    them. Memory is asked for the rest of each other group while more are compared, and group by
    group for slots ``ahead_begin`` to ``ahead_end`` of the block at ``ahead``: more at once would
    have to wait for each other.
    """
    leading = leading_words(words)
    distances[:] = 0
    near[:] = 0
    for slot in range(begin - begin % GROUP_PATCHES, end, GROUP_PATCHES):
        if ahead_begin < ahead_end:
            _ask_for_group(ahead, ahead_begin, leading)
            ahead_begin += GROUP_PATCHES
        group = texture_at(address, slot)
        out = distances.ctypes.data + 4 * slot
        mask = add_distances(group, WORD_BYTES, query, leading, out, threshold)
        if mask:
            near[slot // WINDOW_PATCHES] |= mask << np.uint64(slot % WINDOW_PATCHES)
            for word in range(leading, words):
                prefetch(group + word * WORD_BYTES)
            prefetch(slides_of(address).ctypes.data + 4 * slot)
            prefetch(patches_of(address).ctypes.data + 4 * slot)
    for slot in range(ahead_begin, ahead_end, GROUP_PATCHES):
        _ask_for_group(ahead, slot, leading)
    asked = query + 8 * leading
    for window in range(len(near)):
        rest = near[window]
        near[window] = 0
        while rest:
            within = np.uint64(lowest_bit(rest)) & ~np.uint64(GROUP_PATCHES - 1)
            slot = window * WINDOW_PATCHES + np.int64(within)
            other = texture_at(address, slot) + leading * WORD_BYTES
            out = distances.ctypes.data + 4 * slot
            mask = add_distances(other, WORD_BYTES, asked, words - leading, out, threshold)
            near[window] |= mask << within
            rest &= ~(np.uint64(2**GROUP_PATCHES - 1) << within)


@inlined
def _bits(begin: int, end: int) -> np.uint64:
    """Return a word with bits ``begin`` to ``end`` set, of which there must be one."""
    return (_ALL >> np.uint64(64 - (end - begin))) << np.uint64(begin)


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
    key: int,
    stop_key: int,
    threshold: int,
    distances: Int32s,
    near: Words,
    found_keys: Int64s,
    found: Int64s,
    size: int,
) -> int:
    """Walk from a slot upward (direction 1) or downward (-1) until a reason to stop.

    ``query`` is the address of the query's texture. The walk comes from ``key``, and stops when it
    has left ``steps`` keys behind, that one included. Another reason to stop is ``stop_key``: the
    accepted key that is nearest in this direction, thus the first that the walk could come to. A
    key's patches are a run of slots. Of equal distances the first in order of insertion counts:
    walking downward that is the last one met.

    The walk goes from one patch within the threshold to the next; the keys between them are counted
    as bits of a word, which stands for a window of the block.

    ``distances`` and ``near`` are for use here: an entry for each patch and each window of a block.
    Hits are added to ``found_keys`` and ``found`` (distance, slide, patch), which hold ``size`` and
    have room.

    Returns:
        How many they hold then.
    """
    best, best_address, best_slot = _FAR, 0, 0
    slack = 0 if direction == 1 else 1
    stopped = False
    while 0 <= place < len(blocks) and not stopped:
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
        # The slots that the steps left may come to; most keys have one patch.
        if direction == 1:
            begin, end = slot, min(slot + steps, count)
        else:
            begin, end = max(slot + 1 - steps, 0), slot + 1
        # What the walk needs of the block after the next is asked for meanwhile.
        ahead, ahead_begin, ahead_end = 0, 0, 0
        after = place + 2 * direction
        if 0 <= after < len(blocks):
            rest = steps - (end - begin) - counts[place + direction]
            if rest > 0:
                ahead = block_address(bases, blocks[after], words)
                if direction == -1:
                    ahead_begin = max(counts[after] - rest, 0)
                    ahead_begin -= ahead_begin % GROUP_PATCHES
                ahead_end = min(ahead_begin + rest, counts[after])
        _compare(
            address, begin, end, query, words, threshold,
            ahead, ahead_begin, ahead_end, distances, near,
        )  # fmt: skip
        while begin < end and not stopped:
            window = (begin if direction == 1 else end - 1) // WINDOW_PATCHES
            first = window * WINDOW_PATCHES
            low, high = max(begin, first), min(end, first + WINDOW_PATCHES)
            if direction == 1:
                begin = high
            else:
                end = low
            if keys[low] <= stop_key <= keys[high - 1]:
                stopped = True
                if direction == 1:
                    high = low + np.searchsorted(keys[low:high], stop_key)
                else:
                    low += np.searchsorted(keys[low:high], stop_key, side="right")
                if low == high:
                    break
            hits = near[window]
            changed = np.uint64(0)
            if len(admitted) == 0:
                group = low - low % GROUP_PATCHES
                for slot in range(group, high, GROUP_PATCHES):
                    mask = changes(keys.ctypes.data + 8 * slot)
                    if slot > low:
                        mask |= np.uint64(keys[slot] != keys[slot - 1])
                    changed |= mask << np.uint64(slot - first)
                if direction == -1:
                    changed >>= np.uint64(1)
                nearest = low if direction == 1 else high - 1
                bit = np.uint64(1) << np.uint64(nearest - first)
                changed &= ~bit
                if keys[nearest] != key:
                    changed |= bit
                key = keys[high - 1] if direction == 1 else keys[low]
            else:
                slides = slides_of(address)
                for turn in range(high - low):
                    slot = low + turn if direction == 1 else high - 1 - turn
                    bit = np.uint64(1) << np.uint64(slot - first)
                    if not admitted[slides[slot]]:
                        hits &= ~bit
                    elif keys[slot] != key:
                        changed |= bit
                        key = keys[slot]
            live = _bits(low - first, high - first)
            hits &= live
            changed &= live
            # From here on the lowest bit is the slot that the walk comes to first.
            if direction == -1:
                hits, changed = reversed_bits(hits), reversed_bits(changed)
            while hits:
                at = np.int64(lowest_bit(hits))
                passed = changed & (_ALL >> np.uint64(63 - at))
                if passed:
                    if best != _FAR:
                        _write(found_keys, found, size, best, best_address, best_slot)
                        size += 1
                        best = _FAR
                    steps -= np.int64(popcount(passed))
                    if steps <= 0:
                        return size
                    changed ^= passed
                slot = first + at if direction == 1 else first + WINDOW_PATCHES - 1 - at
                if distances[slot] < best + slack:
                    best, best_address, best_slot = distances[slot], address, slot
                hits &= hits - np.uint64(1)
            if changed:
                if best != _FAR:
                    _write(found_keys, found, size, best, best_address, best_slot)
                    size += 1
                    best = _FAR
                steps -= np.int64(popcount(changed))
                if steps <= 0:
                    return size
        slot = end if direction == 1 else begin - 1
        if slot < 0 or slot == count:
            place += direction
            if direction == 1:
                slot = 0
            elif place >= 0:
                slot = counts[place] - 1
    if best != _FAR:
        _write(found_keys, found, size, best, best_address, best_slot)
        size += 1
    return size


@inlined
def _write(
    found_keys: Int64s, found: Int64s, size: int, distance: int, address: int, slot: int
) -> None:
    found_keys[size] = keys_of(address)[slot]
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
            # The walks ask for what they need after two blocks.
            for near_by in range(max(place - 1, 0), min(place + 2, len(blocks))):
                begin, end = slot - predecessor_steps, slot + successor_steps
                if near_by < place:
                    begin, end = begin + counts[near_by], counts[near_by]
                elif near_by > place:
                    begin, end = 0, end - counts[place]
                address = block_address(bases, blocks[near_by], words)
                _ask_for(address, begin, end, counts[near_by], words)
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
    near = np.empty(-(-BLOCK_PATCHES // WINDOW_PATCHES), dtype=np.uint64)
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
                    threshold, distances, near, keys, hits, size,
                )  # fmt: skip
        low_slot -= 1
        if low_slot < 0:
            low_place -= 1
            low_slot = counts[low_place] - 1 if low_place >= 0 else 0
        size = _walk(
            blocks, counts, bases, words, texture, admitted, preceding,
            low_place, low_slot, -1, predecessor_steps + 1, -1, _accepted_up_to(keys, size, last),
            threshold, distances, near, keys, hits, size,
        )  # fmt: skip
        size = _walk(
            blocks, counts, bases, words, texture, admitted, following,
            high_place, high_slot, 1, successor_steps + 1, -1, _accepted_from(keys, size, first),
            threshold, distances, near, keys, hits, size,
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
