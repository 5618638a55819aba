"""One walk of the guided search, compiled: from a place through the keys above or below it.

Patches are sorted in blocks, with their textures side by side: after one look-up a walk goes
through block after block. It first compares the leading words of all textures that it may reach in
a block; they reject most patches. Then it goes from one patch within the threshold to the next, and
counts the keys between them as bits of a word. Keys themselves are read only where the walk enters
and leaves a block, and of hits.
"""

# Compiled functions branch where a call would cost or need a copy.
# ruff: noqa: C901, PLR0912, PLR0915, PLR0917

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from slidekin_server.compiled import Bytes, Int32s, Int64s, Words, inlined, part
from slidekin_server.index.instructions import (
    add_distances,
    lowest_bit,
    popcount,
    prefetch,
    reversed_bits,
)
from slidekin_server.index.memory import (
    BLOCK_PATCHES,
    GROUP_PATCHES,
    WINDOW_PATCHES,
    WINDOWS,
    WORD_BYTES,
    block_address,
    changes_of,
    keys_of,
    patches_of,
    slides_of,
    texture_at,
)

UP, DOWN = 1, -1
_FAR = 2**31 - 1
_ALL = np.uint64(2**64 - 1)
_ONE = np.uint64(1)


class Blocks(NamedTuple):
    """The blocks of one version in order of their patches."""

    numbers: Int32s
    counts: Int32s
    bases: Int64s
    """Addresses of the arena's segments."""
    words: int
    """Words per texture."""


class Question(NamedTuple):
    """What to look for, and in which slides."""

    texture: int
    """Address of the query's texture."""
    threshold: int
    """Largest distance of a hit, in bits."""
    leading: int
    """Words of a texture that are compared first."""
    admitted: Bytes
    """Bitmap by slide number; empty if every slide is admitted."""


class Comparison(NamedTuple):
    """The result of comparing a block with the query; made once and reused for every block."""

    distances: Int32s
    """Of each patch; too small if the leading words rejected it."""
    near: Words
    """A bit for each patch within the threshold, by window."""


class Found(NamedTuple):
    """The arrays to which hits are written."""

    keys: Int64s
    rows: Int64s
    """Distance, slide number and patch index of each."""


@part
def new_comparison() -> Comparison:
    """Allocate the arrays for comparing a block."""
    return Comparison(np.empty(BLOCK_PATCHES, dtype=np.int32), np.empty(WINDOWS, dtype=np.uint64))


@inlined
def _ask_for_edges(address: int, begin: int, end: int, words: int) -> None:
    """Prefetch what a walk reads of a block besides textures: key changes, first and last key."""
    prefetch(address)
    keys = keys_of(address, words).ctypes.data
    prefetch(keys + 8 * begin)
    prefetch(keys + 8 * (end - 1))


@inlined
def _ask_for_group(address: int, slot: int, leading: int) -> None:
    """Prefetch the leading words of the group that begins at a slot."""
    group = texture_at(address, slot)
    for word in range(leading):
        prefetch(group + word * WORD_BYTES)


@part
def ask_for(blocks: Blocks, place: int, begin: int, end: int, leading: int) -> None:
    """Prefetch what a walk reads of every block that it passes, from slot ``begin`` to ``end``.

    Slots that the block does not have are left out.
    """
    address = block_address(blocks.bases, blocks.numbers[place], blocks.words)
    begin, end = max(begin, 0), min(end, blocks.counts[place])
    if begin < end:
        _ask_for_edges(address, begin, end, blocks.words)
    for slot in range(begin - begin % GROUP_PATCHES, end, GROUP_PATCHES):
        _ask_for_group(address, slot, leading)


@part
def _compare(
    address: int,
    begin: int,
    end: int,
    words: int,
    question: Question,
    ahead: int,
    ahead_begin: int,
    ahead_end: int,
    comparison: Comparison,
) -> None:
    """Compare a block's patches from slot ``begin`` to ``end`` with the query.

    Other patches in the same groups are compared as well. The remaining words of a texture are
    prefetched while leading words of further textures are compared. Slots ``ahead_begin``, where a
    group begins, to ``ahead_end`` of the block at ``ahead`` are prefetched too, group by group: all
    at once, they would wait for each other.
    """
    distances, near = comparison.distances, comparison.near
    leading = question.leading
    distances[:] = 0
    near[:] = 0
    if ahead_begin < ahead_end:
        _ask_for_edges(ahead, ahead_begin, ahead_end, words)
    for slot in range(begin - begin % GROUP_PATCHES, end, GROUP_PATCHES):
        if ahead_begin < ahead_end:
            _ask_for_group(ahead, ahead_begin, leading)
            ahead_begin += GROUP_PATCHES
        group = texture_at(address, slot)
        out = distances.ctypes.data + 4 * slot
        within = add_distances(
            group, WORD_BYTES, question.texture, leading, out, question.threshold
        )
        if within:
            near[slot // WINDOW_PATCHES] |= within << np.uint64(slot % WINDOW_PATCHES)
            for word in range(leading, words):
                prefetch(group + word * WORD_BYTES)
            prefetch(keys_of(address, words).ctypes.data + 8 * slot)
            prefetch(slides_of(address, words).ctypes.data + 4 * slot)
            prefetch(patches_of(address, words).ctypes.data + 4 * slot)
    for slot in range(ahead_begin, ahead_end, GROUP_PATCHES):
        _ask_for_group(ahead, slot, leading)
    asked = question.texture + 8 * leading
    for window in range(WINDOWS):
        undecided = near[window]
        near[window] = 0
        while undecided:
            lane = int(np.int64(lowest_bit(undecided)))
            lane -= lane % GROUP_PATCHES
            slot = window * WINDOW_PATCHES + lane
            rest = texture_at(address, slot) + leading * WORD_BYTES
            out = distances.ctypes.data + 4 * slot
            within = add_distances(
                rest, WORD_BYTES, asked, words - leading, out, question.threshold
            )
            near[window] |= within << np.uint64(lane)
            undecided &= ~_bits(lane, lane + GROUP_PATCHES)


@inlined
def _bits(begin: int, end: int) -> np.uint64:
    """Return a word with bits ``begin`` to ``end`` set; there must be at least one."""
    return (_ALL >> np.uint64(64 - (end - begin))) << np.uint64(begin)


@inlined
def _changed_keys(address: int, window: int, direction: int) -> np.uint64:
    """Return a bit for each slot of a window that a walk reaches from another key."""
    changes = changes_of(address)
    changed: np.uint64 = changes[window]
    if direction == DOWN:
        changed >>= _ONE
        if window + 1 < WINDOWS:
            changed |= changes[window + 1] << np.uint64(WINDOW_PATCHES - 1)
    return changed


@part
def walk(
    blocks: Blocks,
    question: Question,
    skip: Int32s,
    place: int,
    slot: int,
    direction: int,
    steps: int,
    key: int,
    stop_key: int,
    comparison: Comparison,
    found: Found,
    size: int,
) -> int:
    """Walk from a slot until it must stop.

    The walk stops when it has left ``steps`` keys behind, including ``key``, from which it comes.
    If it comes from no key, ``key`` is -1 and still counts as one step. It also stops at
    ``stop_key``: the nearest accepted key in this direction, the first that the walk can reach.

    A key's patches are a run of slots, of which the nearest to the query counts. On ties, the first
    in order of insertion counts; walking downward, that is the last one reached.

    Args:
        blocks: The blocks to walk through.
        question: What to look for.
        skip: Per place, the next block in this direction with an admitted patch; empty to search
            all blocks.
        place: Place of the block to begin in.
        slot: Slot within that block.
        direction: `UP` or `DOWN`.
        steps: See above.
        key: See above.
        stop_key: See above; -1 if there is none.
        comparison: Arrays for this function to use.
        found: Arrays to which hits are added; they have room for ``steps`` more.
        size: Number of hits in them.

    Returns:
        The new number of hits.
    """
    best, best_address, best_slot = _FAR, 0, 0
    slack = 0 if direction == UP else 1
    counts, words = blocks.counts, blocks.words
    first_steps, walked = steps, 0
    stopped = False
    while 0 <= place < len(counts) and not stopped:
        if len(skip) and skip[place] != place:
            place = skip[place]
            if direction == UP:
                slot = 0
            elif place >= 0:
                slot = counts[place] - 1
            continue
        address = block_address(blocks.bases, blocks.numbers[place], words)
        keys = keys_of(address, words)
        # The slots that the remaining steps will reach, if keys repeat as they did so far.
        reach = steps * max(walked, 1) // max(first_steps - steps, 1)
        if direction == UP:
            begin, end = slot, min(slot + reach, counts[place])
        else:
            begin, end = max(slot + 1 - reach, 0), slot + 1
        # What the walk needs of the block after the next one.
        ahead, ahead_begin, ahead_end = 0, 0, 0
        after = place + 2 * direction
        if 0 <= after < len(counts):
            rest = reach - (end - begin) - counts[place + direction]
            if rest > 0:
                ahead = block_address(blocks.bases, blocks.numbers[after], words)
                if direction == DOWN:
                    ahead_begin = max(counts[after] - rest, 0)
                    ahead_begin -= ahead_begin % GROUP_PATCHES
                ahead_end = min(ahead_begin + rest, counts[after])
        if stop_key >= 0 and keys[begin] <= stop_key <= keys[end - 1]:
            stopped = True
            if direction == UP:
                end = begin + int(np.searchsorted(keys[begin:end], stop_key))
            else:
                begin += int(np.searchsorted(keys[begin:end], stop_key, side="right"))
        _compare(address, begin, end, words, question, ahead, ahead_begin, ahead_end, comparison)
        if direction == UP:
            entered, left = begin, end - 1
        else:
            entered, left = end - 1, begin
        while begin < end:
            window = (begin if direction == UP else end - 1) // WINDOW_PATCHES
            first = window * WINDOW_PATCHES
            low, high = max(begin, first), min(end, first + WINDOW_PATCHES)
            walked += high - low
            if direction == UP:
                begin = high
            else:
                end = low
            near = comparison.near[window]
            if len(question.admitted) == 0:
                changed = _changed_keys(address, window, direction)
                if low <= entered < high:
                    bit = _ONE << np.uint64(entered - first)
                    changed = changed | bit if keys[entered] != key else changed & ~bit
            else:
                changed = np.uint64(0)
                slides = slides_of(address, words)
                for turn in range(high - low):
                    slot = low + turn if direction == UP else high - 1 - turn
                    bit = _ONE << np.uint64(slot - first)
                    if not question.admitted[slides[slot]]:
                        near &= ~bit
                    elif keys[slot] != key:
                        changed |= bit
                        key = keys[slot]
            between = _bits(low - first, high - first)
            near &= between
            changed &= between
            # From here on the lowest bit is the slot that the walk reaches first.
            if direction == DOWN:
                near, changed = reversed_bits(near), reversed_bits(changed)
            while near | changed:
                # To the next patch within the threshold; without one, to the end of the window.
                lane = int(np.int64(lowest_bit(near))) if near else 63
                passed = changed & _bits(0, lane + 1)
                if passed:
                    changed ^= passed
                    if best != _FAR:
                        _write(found, size, best, best_address, best_slot, words)
                        size += 1
                        best = _FAR
                    steps -= int(np.int64(popcount(passed)))
                    if steps <= 0:
                        return size
                if near:
                    slot = first + (lane if direction == UP else WINDOW_PATCHES - 1 - lane)
                    if comparison.distances[slot] < best + slack:
                        best, best_address, best_slot = comparison.distances[slot], address, slot
                    near &= near - _ONE
        if len(question.admitted) == 0 and not stopped:
            key = keys[left]
        slot = end if direction == UP else begin - 1
        if slot < 0 or slot == counts[place]:
            place += direction
            if direction == UP:
                slot = 0
            elif place >= 0:
                slot = counts[place] - 1
    if best != _FAR:
        _write(found, size, best, best_address, best_slot, words)
        size += 1
    return size


@inlined
def _write(found: Found, size: int, distance: int, address: int, slot: int, words: int) -> None:
    found.keys[size] = keys_of(address, words)[slot]
    found.rows[size, 0] = distance
    found.rows[size, 1] = slides_of(address, words)[slot]
    found.rows[size, 2] = patches_of(address, words)[slot]
