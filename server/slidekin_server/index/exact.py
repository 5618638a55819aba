"""The exact scan: the Hamming distance of every admitted patch to every query patch, compiled.

Blocks are read once for all query patches: a block's textures stay in the nearest cache while
each query in turn is compared with them.
"""

# Compiled functions take columns one by one, and branch where a call would cost or need a copy.
# ruff: noqa: PLR0917

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slidekin_server.index.compiled import (
    Bytes,
    Int32s,
    Int64s,
    Words,
    inlined,
    kernel,
    part,
)
from slidekin_server.index.guided import distance_bits
from slidekin_server.index.memory import (
    block_address,
    keys_of,
    patches_of,
    slides_of,
    textures_of,
)


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
    """Offer a hit to a heap whose root is the furthest kept; return the heap's size. O(log n)."""
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


@kernel
def nearest(
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
        blocks: Block numbers of the part of the directory to scan.
        counts: The counts of that part.
        bases: Addresses of the arena's segments.
        words: Words a texture.
        queries: Shape (n, words), uint64.
        admitted: Bitmap by slide number; empty where every slide is admitted.
        following: As in the guided walk, for the same part of the directory.
        max_distance: Hits further away than this are left out.
        distances: Shape (n, limit): a heap of distances for each query.
        orders: Shape (n, limit): slide number * 2**32 + patch index of each hit in the heap, which
            is the order of insertion.
        keys: Shape (n, limit): the key of each hit in the heap.
        sizes: Shape (n,): how many hits each heap holds.
    """
    place = 0
    while place < len(blocks):
        if len(following) and following[place] != place:
            place = following[place]
            continue
        address = block_address(bases, blocks[place], words)
        slides = slides_of(address)
        textures = textures_of(address, words)
        for query in range(len(queries)):
            bound = max_distance
            if sizes[query] == distances.shape[1]:
                bound = min(bound, distances[query, 0])
            for slot in range(counts[place]):
                if len(admitted) and not admitted[slides[slot]]:
                    continue
                bits = distance_bits(textures, slot, queries[query], words)
                if bits <= bound:
                    order = (np.int64(slides[slot]) << 32) | patches_of(address)[slot]
                    sizes[query] = _offer(
                        distances[query],
                        orders[query],
                        keys[query],
                        sizes[query],
                        bits,
                        order,
                        keys_of(address)[slot],
                    )
                    if sizes[query] == distances.shape[1]:
                        bound = min(max_distance, distances[query, 0])
        place += 1


@kernel
def nearest_of_each_slide(
    blocks: Int32s,
    counts: Int32s,
    bases: Int64s,
    words: int,
    queries: Words,
    admitted: Bytes,
    following: Int32s,
    max_distance: int,
    best: Int64s,
) -> None:
    """Keep each slide's nearest patch to each query. O(patches * queries).

    Args:
        blocks: As in `nearest`, and so the rest.
        counts: See `nearest`.
        bases: See `nearest`.
        words: See `nearest`.
        queries: See `nearest`.
        admitted: See `nearest`.
        following: See `nearest`.
        max_distance: See `nearest`.
        best: Shape (n, slide numbers), int64: distance * 2**32 + patch index of the nearest patch
            so far, -1 where there is none.
    """
    place = 0
    while place < len(blocks):
        if len(following) and following[place] != place:
            place = following[place]
            continue
        address = block_address(bases, blocks[place], words)
        slides = slides_of(address)
        patches = patches_of(address)
        textures = textures_of(address, words)
        for query in range(len(queries)):
            for slot in range(counts[place]):
                slide = slides[slot]
                if len(admitted) and not admitted[slide]:
                    continue
                bits = distance_bits(textures, slot, queries[query], words)
                if bits <= max_distance:
                    found = (np.int64(bits) << 32) | patches[slot]
                    if best[query, slide] == -1 or found < best[query, slide]:
                        best[query, slide] = found
        place += 1
