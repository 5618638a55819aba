"""Compiled work on the block directory: rewriting blocks for a new version.

A directory lists the blocks of one version in order of their patches (key, slide number, patch
index): three arrays, first key, block number and count of each. Blocks that a published directory
names are never written again: a change writes new blocks and a new directory.
"""

# Compiled functions take columns one by one, and branch where a call would cost or need a copy.
# ruff: noqa: C901, FBT001, PLR0912, PLR0915, PLR0917

from __future__ import annotations

from typing import Final

import numpy as np

from slidekin_server.compiled import Bytes, Int32s, Int64s, Words, inlined, kernel
from slidekin_server.index.instructions import prefetch
from slidekin_server.index.memory import (
    BLOCK_PATCHES,
    FILL_PATCHES,
    WINDOW_PATCHES,
    WORD_BYTES,
    block_address,
    changes_of,
    keys_of,
    patches_of,
    put_key,
    slides_of,
    texture_at,
    texture_from,
    textures_of,
)
from slidekin_server.index.places import Columns, block_holding

_PREFETCH_AHEAD: Final = 24
"""Number of patches by which prefetching scattered textures runs ahead of copying them."""


@inlined
def _blocks_needed(patches: int, blocks: int) -> int:
    """Return how many blocks should replace ``blocks`` blocks, in order to hold ``patches``."""
    if patches > blocks * BLOCK_PATCHES:
        return max(blocks + 1, (patches + FILL_PATCHES - 1) // FILL_PATCHES)
    if patches == 0:
        return 0
    return blocks - 1 if patches <= (blocks - 1) * FILL_PATCHES else blocks


@kernel
def plan(
    first_keys: Int64s,
    blocks: Int32s,
    counts: Int32s,
    bases: Int64s,
    words: int,
    keys: Int64s,
    slide: int,
    patches: Int32s,
    sign: int,
) -> Int64s:
    """Group the sorted patches of one slide by the runs of blocks that gain or lose them.

    A block that would overflow, or become less than half full, shares with a neighbour: two full
    blocks become three, so that blocks stay at least two thirds full under additions.

    Returns:
        Shape (groups, 5), int64: first block and end in the directory, first patch and end in
        ``keys``, number of blocks that replace them.
    """
    groups = np.empty((len(keys), 5), dtype=np.int64)
    size = 0
    if len(blocks) == 0:
        groups[0, :3] = 0
        groups[0, 3] = len(keys)
        groups[0, 4] = _blocks_needed(len(keys), 0)
        return groups[:1]
    for entry in range(len(keys)):
        place = block_holding(first_keys, blocks, bases, words, keys[entry], slide, patches[entry])
        if size and groups[size - 1, 0] == place:
            groups[size - 1, 3] = entry + 1
        else:
            groups[size, 0], groups[size, 1] = place, place + 1
            groups[size, 2], groups[size, 3] = entry, entry + 1
            size += 1
    for group in range(size):
        begin, end = groups[group, 0], groups[group, 1]
        total = counts[begin] + sign * (groups[group, 3] - groups[group, 2])
        if total > BLOCK_PATCHES or total < BLOCK_PATCHES // 2:
            right_end = groups[group + 1, 0] if group + 1 < size else len(blocks)
            left_end = groups[group - 1, 1] if group else 0
            if end < right_end:
                total += counts[end]
                end += 1
            elif begin > left_end:
                begin -= 1
                total += counts[begin]
        groups[group, 0], groups[group, 1] = begin, end
        groups[group, 4] = _blocks_needed(total, end - begin)
    return groups[:size]


@inlined
def _put(
    address: int, slot: int, words: int, key: int, slide: int, patch: int, texture: Words
) -> None:
    put_key(address, slot, words, key)
    slides_of(address, words)[slot] = slide
    patches_of(address, words)[slot] = patch
    textures = textures_of(address, words)
    for word in range(words):
        textures[word, slot] = texture[word]


@kernel
def rewrite(
    first_keys: Int64s,
    blocks: Int32s,
    counts: Int32s,
    bases: Int64s,
    words: int,
    groups: Int64s,
    new_blocks: Int32s,
    keys: Int64s,
    slide: int,
    patches: Int32s,
    textures: Words,
    adding: bool,
) -> Columns:
    """Write the blocks that replace the planned groups, and the directory that names them.

    Adding merges the slide's patches in; removing leaves out all patches of the slide.

    Returns:
        The new directory: first keys, blocks, counts.
    """
    growth = len(new_blocks)
    for group in range(len(groups)):
        growth -= groups[group, 1] - groups[group, 0]
    size = len(blocks) + growth
    to_first = np.empty(size, dtype=np.int64)
    to_blocks = np.empty(size, dtype=np.int32)
    to_counts = np.empty(size, dtype=np.int32)
    read, write, taken = 0, 0, 0
    for group in range(len(groups)):
        begin, end = groups[group, 0], groups[group, 1]
        kept = begin - read
        to_first[write : write + kept] = first_keys[read:begin]
        to_blocks[write : write + kept] = blocks[read:begin]
        to_counts[write : write + kept] = counts[read:begin]
        write += kept
        read = end

        outputs = groups[group, 4]
        entry, entries = groups[group, 2], groups[group, 3]
        total = (entries - entry) if adding else -(entries - entry)
        for place in range(begin, end):
            total += counts[place]
        for output in range(outputs):
            to_blocks[write + output] = new_blocks[taken + output]
            to_counts[write + output] = total // outputs + (1 if output < total % outputs else 0)
        taken += outputs
        if not adding:
            entry = entries

        target, slot = write, 0
        address = block_address(bases, to_blocks[write], words) if outputs else 0
        place, old, source = begin, 0, address
        for _ in range(total):
            # The next patch to write: an old one that stays, or a new one where it comes first.
            while place < end:
                source = block_address(bases, blocks[place], words)
                if old == counts[place]:
                    place, old = place + 1, 0
                elif not adding and slides_of(source, words)[old] == slide:
                    old += 1
                else:
                    break
            take_new = place == end
            if not take_new and entry < entries:
                key = keys_of(source, words)[old]
                owner = slides_of(source, words)[old]
                take_new = keys[entry] < key or (keys[entry] == key and slide < owner)
            if slot == 0:
                to_first[target] = keys[entry] if take_new else keys_of(source, words)[old]
            if take_new:
                _put(address, slot, words, keys[entry], slide, patches[entry], textures[entry])
                entry += 1
            else:
                _put(
                    address,
                    slot,
                    words,
                    keys_of(source, words)[old],
                    slides_of(source, words)[old],
                    patches_of(source, words)[old],
                    texture_from(texture_at(source, old), words),
                )
                old += 1
            slot += 1
            if slot == to_counts[target]:
                target, slot = target + 1, 0
                if target < write + outputs:
                    address = block_address(bases, to_blocks[target], words)
        write += outputs
    to_first[write:] = first_keys[read:]
    to_blocks[write:] = blocks[read:]
    to_counts[write:] = counts[read:]
    return to_first, to_blocks, to_counts


@kernel
def fill(
    bases: Int64s,
    words: int,
    blocks: Int32s,
    keys: Int64s,
    slides: Int32s,
    patches: Int32s,
    textures_at: Int64s,
) -> Columns:
    """Fill blocks with sorted patches whose textures are at the given addresses. O(n).

    Returns:
        The directory: first keys, blocks, counts.
    """
    first_keys = np.empty(len(blocks), dtype=np.int64)
    counts = np.empty(len(blocks), dtype=np.int32)
    for place in range(len(blocks)):
        begin = place * FILL_PATCHES
        end = min(begin + FILL_PATCHES, len(keys))
        first_keys[place] = keys[begin]
        counts[place] = end - begin
        address = block_address(bases, blocks[place], words)
        for entry in range(begin, end):
            ahead = entry + _PREFETCH_AHEAD
            if ahead < len(textures_at):
                for word in range(words):
                    prefetch(textures_at[ahead] + WORD_BYTES * word)
            _put(
                address,
                entry - begin,
                words,
                keys[entry],
                slides[entry],
                patches[entry],
                texture_from(textures_at[entry], words),
            )
    return first_keys, blocks, counts


@kernel
def texture_addresses(
    first_keys: Int64s,
    blocks: Int32s,
    counts: Int32s,
    bases: Int64s,
    words: int,
    keys: Int64s,
    slides: Int32s,
    patches: Int32s,
) -> Int64s:
    """Find the addresses of textures of patches in the directory. O(m log n)."""
    addresses = np.empty(len(keys), dtype=np.int64)
    for entry in range(len(keys)):
        key, slide, patch = keys[entry], slides[entry], patches[entry]
        place = block_holding(first_keys, blocks, bases, words, key, slide, patch)
        address = block_address(bases, blocks[place], words)
        slot = np.searchsorted(keys_of(address, words)[: counts[place]], key)
        while slides_of(address, words)[slot] != slide or patches_of(address, words)[slot] != patch:
            slot += 1
        addresses[entry] = texture_at(address, slot)
    return addresses


@kernel
def neighbours_admitted(
    blocks: Int32s, counts: Int32s, bases: Int64s, words: int, admitted: Bytes
) -> tuple[Int32s, Int32s]:
    """Find, for each place in the directory, the nearest blocks with an admitted patch.

    Returns:
        Two int32 arrays of shape (blocks,): the least such place at or after each place (the number
        of blocks if there is none), and the greatest at or before it (-1 if there is none).
    """
    size = len(blocks)
    following = np.empty(size, dtype=np.int32)
    preceding = np.empty(size, dtype=np.int32)
    last = -1
    for place in range(size):
        slides = slides_of(block_address(bases, blocks[place], words), words)
        for slot in range(counts[place]):
            if admitted[slides[slot]]:
                last = place
                break
        preceding[place] = last
    last = size
    for place in range(size - 1, -1, -1):
        if preceding[place] == place:
            last = place
        following[place] = last
    return following, preceding


@kernel
def listing(
    blocks: Int32s, counts: Int32s, bases: Int64s, words: int
) -> tuple[Int64s, Int32s, Int32s, Bytes]:
    """List all patches in the directory's order. O(n).

    Returns:
        keys, slides, patch indices, and 1 for each patch that is marked as having another key than
        the one before it in its block.
    """
    total = counts.sum()
    keys = np.empty(total, dtype=np.int64)
    slides = np.empty(total, dtype=np.int32)
    patches = np.empty(total, dtype=np.int32)
    changed = np.empty(total, dtype=np.uint8)
    begin = 0
    for place in range(len(blocks)):
        address = block_address(bases, blocks[place], words)
        end = begin + counts[place]
        keys[begin:end] = keys_of(address, words)[: counts[place]]
        slides[begin:end] = slides_of(address, words)[: counts[place]]
        patches[begin:end] = patches_of(address, words)[: counts[place]]
        for slot in range(counts[place]):
            window = changes_of(address)[slot // WINDOW_PATCHES]
            changed[begin + slot] = (window >> np.uint64(slot % WINDOW_PATCHES)) & np.uint64(1)
        begin = end
    return keys, slides, patches, changed
