"""The exact scan: the Hamming distance of every admitted patch to every query patch, compiled.

Each block is read once for all query patches: its textures stay in the first-level cache while they
are compared with one query after the other. The distances of a whole block are computed first,
without a branch per patch; usually even the smallest is too large, and the rest of the block is
skipped. Eight patches whose leading words are too far away are not compared further.
"""

# Compiled functions take columns one by one, and branch where a call would cost or need a copy.
# ruff: noqa: C901, PLR0917

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slidekin_server.compiled import Bytes, Int32s, Int64s, Words, inlined, kernel, part
from slidekin_server.index.instructions import add_distances, prefetch
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

NO_PATCH: Final = 2**63 - 1
"""Entry in a table of nearest patches if there is none."""
_FAR: Final = 2**31 - 1


@inlined
def _further(distances: Int32s, orders: Int64s, one: int, other: int) -> bool:
    if distances[one] == distances[other]:
        return bool(orders[one] > orders[other])
    return bool(distances[one] > distances[other])


@inlined
def _swap(column: NDArray[Any], one: int, other: int) -> None:
    column[one], column[other] = column[other], column[one]


@part
def _offer(
    distances: Int32s, orders: Int64s, keys: Int64s, size: int, distance: int, order: int, key: int
) -> int:
    """Offer a hit to a heap whose root is the furthest hit; return the heap's size. O(log n)."""
    limit = len(distances)
    if size == limit:
        if distance > distances[0] or (distance == distances[0] and order > orders[0]):
            return size
        node = 0
    else:
        node = size
        size += 1
    distances[node], orders[node], keys[node] = distance, order, key
    while node > 0:
        parent = (node - 1) // 2
        if not _further(distances, orders, node, parent):
            break
        _swap(distances, node, parent)
        _swap(orders, node, parent)
        _swap(keys, node, parent)
        node = parent
    while True:
        child = 2 * node + 1
        if child >= size:
            break
        if child + 1 < size and _further(distances, orders, child + 1, child):
            child += 1
        if not _further(distances, orders, child, node):
            break
        _swap(distances, node, child)
        _swap(orders, node, child)
        _swap(keys, node, child)
        node = child
    return size


@inlined
def _compare(
    address: int,
    count: int,
    query: int,
    words: int,
    bound: int,
    leading: int,
    distances: Int32s,
    ahead: int,
    ahead_leading: int,
) -> bool:
    """Write the distances of a block's patches; return whether one does not exceed ``bound``.

    Distances that exceed it may be written too small: a group whose ``leading`` words are already
    too far away is not compared further. With ``ahead``, the address of a block that comes soon,
    that many words of its textures are prefetched.
    """
    found = np.uint64(0)
    distances[:] = 0
    for slot in range(0, count, GROUP_PATCHES):
        group = texture_at(address, slot)
        out = distances.ctypes.data + 4 * slot
        if ahead:
            there = texture_at(ahead, slot)
            for word in range(ahead_leading):
                prefetch(there + word * WORD_BYTES)
        within = add_distances(group, WORD_BYTES, query, leading, out, bound)
        if within:
            rest, asked = group + leading * WORD_BYTES, query + 8 * leading
            within = add_distances(rest, WORD_BYTES, asked, words - leading, out, bound)
        # The remaining slots of the last group hold no patches.
        beyond = max(slot + GROUP_PATCHES - count, 0)
        found |= within & (np.uint64(2**GROUP_PATCHES - 1) >> np.uint64(beyond))
    return bool(found)


@kernel
def nearest(
    begin: int,
    end: int,
    blocks: Int32s,
    counts: Int32s,
    bases: Int64s,
    words: int,
    queries: Words,
    admitted: Bytes,
    following: Int32s,
    max_distance: int,
    distances: Int32s,
    orders: Int64s,
    keys: Int64s,
    sizes: Int64s,
) -> None:
    """Keep the nearest patches of each query. O(patches * queries).

    Args:
        begin: First place in the directory to scan.
        end: The place to stop before.
        blocks: The directory's block numbers.
        counts: The directory's counts.
        bases: Addresses of the arena's segments.
        words: Words per texture.
        queries: Shape (n, words), uint64.
        admitted: Bitmap by slide number; empty if every slide is admitted.
        following: As in the guided walk.
        max_distance: Hits further away than this are left out.
        distances: Shape (n, limit): a heap of distances for each query.
        orders: Shape (n, limit): slide number * 2**32 + patch index of each hit in the heap; this
            gives the order of insertion.
        keys: Shape (n, limit): the key of each hit in the heap.
        sizes: Shape (n,): how many hits each heap holds.
    """
    limit = distances.shape[1]
    of_block = np.empty(BLOCK_PATCHES, dtype=np.int32)
    bounds = np.full(len(queries), max_distance, dtype=np.int64)
    leading = np.full(len(queries), leading_words(words, max_distance), dtype=np.int64)
    for query in range(len(queries)):
        if sizes[query] == limit:
            bounds[query] = min(max_distance, distances[query, 0])
            leading[query] = leading_words(words, bounds[query])
    place = begin
    while place < end:
        if len(following) and following[place] != place:
            place = following[place]
            continue
        address = block_address(bases, blocks[place], words)
        ahead = block_address(bases, blocks[min(place + 2, end - 1)], words)
        most_leading = leading.max()
        slides = slides_of(address, words)
        for query in range(len(queries)):
            near = _compare(
                address, counts[place], queries[query].ctypes.data, words, bounds[query],
                leading[query], of_block, ahead, most_leading,
            )  # fmt: skip
            ahead = 0
            if not near:
                continue
            for slot in range(counts[place]):
                bits = of_block[slot]
                if bits > bounds[query] or (len(admitted) and not admitted[slides[slot]]):
                    continue
                order = (np.int64(slides[slot]) << 32) | patches_of(address, words)[slot]
                sizes[query] = _offer(
                    distances[query],
                    orders[query],
                    keys[query],
                    sizes[query],
                    bits,
                    order,
                    keys_of(address, words)[slot],
                )
                if sizes[query] == limit:
                    bounds[query] = min(max_distance, distances[query, 0])
            leading[query] = leading_words(words, bounds[query])
        place += 1


@kernel
def nearest_of_each_slide(
    begin: int,
    end: int,
    blocks: Int32s,
    counts: Int32s,
    bases: Int64s,
    words: int,
    queries: Words,
    admitted: Bytes,
    following: Int32s,
    max_distance: int,
    limit: int,
    best: Int64s,
) -> None:
    """Keep each slide's nearest patch to each query, of the nearest slides. O(patches * queries).

    Once ``limit`` slides are known, patches further away than the furthest of them are skipped
    without reading the table of slides.

    Args:
        begin: See `nearest`.
        end: See `nearest`.
        blocks: See `nearest`.
        counts: See `nearest`.
        bases: See `nearest`.
        words: See `nearest`.
        queries: See `nearest`.
        admitted: See `nearest`.
        following: See `nearest`.
        max_distance: See `nearest`.
        limit: Slides wanted for each query; their entries in ``best`` are exact.
        best: Shape (n, slide numbers), int64: distance * 2**32 + patch index of the nearest patch
            so far, `NO_PATCH` if there is none.
    """
    # By query and distance: slides whose nearest patch has it. `kept` counts those in reach.
    slides_at = np.zeros((len(queries), 64 * words + 1), dtype=np.int32)
    kept = np.zeros(len(queries), dtype=np.int64)
    furthest = min(max_distance, 64 * words)
    bounds = np.full(len(queries), furthest, dtype=np.int64)
    leading = np.full(len(queries), leading_words(words, furthest), dtype=np.int64)
    of_block = np.empty(BLOCK_PATCHES, dtype=np.int32)
    place = begin
    while place < end:
        if len(following) and following[place] != place:
            place = following[place]
            continue
        address = block_address(bases, blocks[place], words)
        ahead = block_address(bases, blocks[min(place + 2, end - 1)], words)
        most_leading = leading.max()
        slides = slides_of(address, words)
        patches = patches_of(address, words)
        for query in range(len(queries)):
            near = _compare(
                address, counts[place], queries[query].ctypes.data, words, bounds[query],
                leading[query], of_block, ahead, most_leading,
            )  # fmt: skip
            ahead = 0
            if not near:
                continue
            for slot in range(counts[place]):
                bits, slide = of_block[slot], slides[slot]
                if bits > bounds[query] or (len(admitted) and not admitted[slide]):
                    continue
                found = (np.int64(bits) << 32) | patches[slot]
                known = best[query, slide]
                if found >= known:
                    continue
                best[query, slide] = found
                if known != NO_PATCH:
                    slides_at[query, known >> 32] -= 1
                    if known >> 32 <= bounds[query]:
                        kept[query] -= 1
                slides_at[query, bits] += 1
                kept[query] += 1
                while kept[query] - slides_at[query, bounds[query]] >= limit:
                    kept[query] -= slides_at[query, bounds[query]]
                    bounds[query] -= 1
            leading[query] = leading_words(words, bounds[query])
        place += 1
