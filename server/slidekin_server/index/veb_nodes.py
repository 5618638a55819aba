"""Compiled work on the nodes of a van Emde Boas tree; see `veb` for what the tree is.

Clusters are found by hashing, so memory grows with the number of keys and not with their range. All
data is in two flat arrays, and all code is compiled:

- ``nodes``: a row of four words is a tree of two keys or more: least key, greatest key, reference
  to its summary - or, over 8 bits, the bitmap. Row 0 is the root.
- ``table``: open addressing with linear probing, from (node, high half) to the reference of the
  cluster.

A reference is a tree of any size: 0 for none, ``key << 2 | 1`` for a single key, which needs no
row, ``row << 2 | 2`` for more.
"""

# Compiled functions take columns one by one, and branch where a call would cost or need a copy.
# ruff: noqa: C901, FBT001, PLR0912, PLR0915, PLR0917

from __future__ import annotations

from typing import Final

import numpy as np

from slidekin_server.compiled import Int64s, Words, inlined, kernel, part
from slidekin_server.index.instructions import highest_bit, lowest_bit, popcount

STEPS: Final = 4
"""Trees on one path: over 64, 32, 16 and 8 bits."""
_LEAF: Final = np.uint64(8)
_ROOT_BITS: Final = np.uint64(64)
_ZERO: Final = np.uint64(0)
_ONE: Final = np.uint64(1)
_TWO: Final = np.uint64(2)
_ROOT: Final = np.uint64(0)
LEAST, GREATEST, SUMMARY = 0, 1, 2
SIZE, ROWS, FREE, ENTRIES = 0, 1, 2, 3
"""Places in ``state``: keys held, rows ever used, first free row (0: none), entries in the table.
Free rows are chained through their first word."""


@inlined
def _single(key: np.uint64) -> np.uint64:
    return (key << _TWO) | _ONE


@inlined
def _is_single(reference: np.uint64) -> bool:
    return bool(reference & _ONE)


@inlined
def _high(key: np.uint64, half: np.uint64) -> np.uint64:
    return key >> half


@inlined
def _low(key: np.uint64, half: np.uint64) -> np.uint64:
    return key & ((_ONE << half) - _ONE)


@inlined
def _home(table: Words, name: np.uint64) -> np.uint64:
    name ^= name >> np.uint64(32)
    name *= np.uint64(0x9E3779B97F4A7C15)
    name ^= name >> np.uint64(29)
    return name & np.uint64(len(table) - 1)


@inlined
def _name(node: np.uint64, high: np.uint64) -> np.uint64:
    return (node << np.uint64(32)) | high


@inlined
def find(table: Words, node: np.uint64, high: np.uint64) -> np.uint64:
    """Find the slot of a cluster, or the free slot it would take. Expected O(1)."""
    name = _name(node, high)
    mask = np.uint64(len(table) - 1)
    slot = _home(table, name)
    while table[slot, 1] != _ZERO and table[slot, 0] != name:
        slot = (slot + _ONE) & mask
    return slot


@part
def _take_out(table: Words, state: Int64s, slot: np.uint64) -> None:
    """Empty a slot and close the gap, so that no tombstones are needed. Expected O(1)."""
    mask = np.uint64(len(table) - 1)
    gap = slot
    slot = (slot + _ONE) & mask
    while table[slot, 1] != _ZERO:
        home = _home(table, table[slot, 0])
        # Whether the entry may move back to the gap: its home is not between the two.
        if ((slot - home) & mask) >= ((slot - gap) & mask):
            table[gap, 0] = table[slot, 0]
            table[gap, 1] = table[slot, 1]
            gap = slot
        slot = (slot + _ONE) & mask
    table[gap, 1] = _ZERO
    state[ENTRIES] -= 1


@part
def _put(
    table: Words, state: Int64s, node: np.uint64, high: np.uint64, reference: np.uint64
) -> None:
    slot = find(table, node, high)
    table[slot, 0] = _name(node, high)
    table[slot, 1] = reference
    state[ENTRIES] += 1


@part
def _new_row(nodes: Words, state: Int64s) -> np.uint64:
    row = state[FREE]
    if row:
        state[FREE] = np.int64(nodes[row, 0])
    else:
        row = state[ROWS]
        state[ROWS] += 1
    nodes[row] = _ZERO
    return np.uint64(row)


@part
def _free_row(nodes: Words, state: Int64s, row: np.uint64) -> None:
    nodes[row, 0] = np.uint64(state[FREE])
    state[FREE] = np.int64(row)


@part
def _bitmap_next(words: Words, key: np.uint64) -> np.uint64:
    """Return the least bit > key; there must be one."""
    key += _ONE
    word = key >> np.uint64(6)
    rest = words[word] & (~_ZERO << (key & np.uint64(63)))
    while rest == _ZERO:
        word += _ONE
        rest = words[word]
    return (word << np.uint64(6)) | lowest_bit(rest)


@part
def _bitmap_previous(words: Words, key: np.uint64) -> np.uint64:
    """Return the greatest bit < key; there must be one."""
    key -= _ONE
    word = key >> np.uint64(6)
    rest = words[word] & (~_ZERO >> (np.uint64(63) - (key & np.uint64(63))))
    while rest == _ZERO:
        word -= _ONE
        rest = words[word]
    return (word << np.uint64(6)) | highest_bit(rest)


@part
def _least(nodes: Words, reference: np.uint64, bits: np.uint64) -> np.uint64:
    if _is_single(reference):
        return reference >> _TWO
    words = nodes[reference >> _TWO]
    if bits > _LEAF:
        return np.uint64(words[LEAST])
    word = _ZERO
    while words[word] == _ZERO:
        word += _ONE
    return (word << np.uint64(6)) | lowest_bit(words[word])


@part
def _greatest(nodes: Words, reference: np.uint64, bits: np.uint64) -> np.uint64:
    if _is_single(reference):
        return reference >> _TWO
    words = nodes[reference >> _TWO]
    if bits > _LEAF:
        return np.uint64(words[GREATEST])
    word = np.uint64(3)
    while words[word] == _ZERO:
        word -= _ONE
    return (word << np.uint64(6)) | highest_bit(words[word])


@kernel
def contains(nodes: Words, table: Words, state: Int64s, key: np.uint64) -> bool:
    """Return whether the tree holds a key. Expected O(log log u)."""
    if state[SIZE] == 0:
        return False
    node, bits = _ROOT, _ROOT_BITS
    while True:
        if bits == _LEAF:
            return bool((nodes[node, key >> np.uint64(6)] >> (key & np.uint64(63))) & _ONE)
        if key == nodes[node, LEAST]:
            return True
        bits >>= _ONE
        reference = table[find(table, node, _high(key, bits)), 1]
        key = _low(key, bits)
        if reference == _ZERO or _is_single(reference):
            return bool(reference == _single(key))
        node = reference >> _TWO


@kernel
def successor(nodes: Words, table: Words, state: Int64s, key: np.uint64) -> tuple[bool, np.uint64]:
    """Return (True, least key > ``key``), or (False, 0)."""
    if state[SIZE] == 0 or key >= nodes[_ROOT, GREATEST]:
        return False, _ZERO
    # How to turn the answer of a half into that of the whole: a high half to put in front, or, if
    # the high half itself was searched for, the node whose cluster holds the low one.
    fronts = np.empty(STEPS, dtype=np.uint64)
    below = np.empty(STEPS, dtype=np.bool_)
    depth = 0
    node, bits = _ROOT, _ROOT_BITS
    while True:
        if bits == _LEAF:
            found = _bitmap_next(nodes[node], key)
            break
        if key < nodes[node, LEAST]:
            found = nodes[node, LEAST]
            break
        bits >>= _ONE
        high, low = _high(key, bits), _low(key, bits)
        reference = table[find(table, node, high), 1]
        below[depth] = reference != _ZERO and low < _greatest(nodes, reference, bits)
        if below[depth]:
            fronts[depth], key = high, low
        else:
            fronts[depth], key = node, high
            reference = nodes[node, SUMMARY]
        depth += 1
        if _is_single(reference):
            found = reference >> _TWO
            break
        node = reference >> _TWO
    while depth:
        # `found` has `bits` bits at the deepest frame; a frame further up has twice as many.
        depth -= 1
        half = _ROOT_BITS >> np.uint64(depth + 1)
        if below[depth]:
            found |= fronts[depth] << half
        else:
            cluster = table[find(table, fronts[depth], found), 1]
            found = (found << half) | _least(nodes, cluster, half)
    return True, found


@kernel
def predecessor(
    nodes: Words, table: Words, state: Int64s, key: np.uint64
) -> tuple[bool, np.uint64]:
    """Return (True, greatest key < ``key``), or (False, 0)."""
    if state[SIZE] == 0 or key <= nodes[_ROOT, LEAST]:
        return False, _ZERO
    fronts = np.empty(STEPS, dtype=np.uint64)
    below = np.empty(STEPS, dtype=np.bool_)
    depth = 0
    node, bits = _ROOT, _ROOT_BITS
    while True:
        if bits == _LEAF:
            found = _bitmap_previous(nodes[node], key)
            break
        if key > nodes[node, GREATEST]:
            found = nodes[node, GREATEST]
            break
        half = bits >> _ONE
        high, low = _high(key, half), _low(key, half)
        reference = table[find(table, node, high), 1]
        summary = nodes[node, SUMMARY]
        below[depth] = reference != _ZERO and low > _least(nodes, reference, half)
        if below[depth]:
            fronts[depth], key = high, low
        elif summary == _ZERO or high <= _least(nodes, summary, half):
            found = nodes[node, LEAST]  # it is in no cluster
            break
        else:
            fronts[depth], key = node, high
            reference = summary
        depth += 1
        bits = half
        if _is_single(reference):
            found = reference >> _TWO
            break
        node = reference >> _TWO
    while depth:
        depth -= 1
        half = _ROOT_BITS >> np.uint64(depth + 1)
        if below[depth]:
            found |= fronts[depth] << half
        else:
            cluster = table[find(table, fronts[depth], found), 1]
            found = (found << half) | _greatest(nodes, cluster, half)
    return True, found


@part
def _pair(
    nodes: Words, table: Words, state: Int64s, one: np.uint64, other: np.uint64, bits: np.uint64
) -> np.uint64:
    """Make a tree of two different keys; return its reference."""
    row = _new_row(nodes, state)
    least, greatest = min(one, other), max(one, other)
    if bits == _LEAF:
        nodes[row, least >> np.uint64(6)] |= _ONE << (least & np.uint64(63))
        nodes[row, greatest >> np.uint64(6)] |= _ONE << (greatest & np.uint64(63))
    else:
        half = bits >> _ONE
        nodes[row, LEAST], nodes[row, GREATEST] = least, greatest
        nodes[row, SUMMARY] = _single(_high(greatest, half))
        _put(table, state, row, _high(greatest, half), _single(_low(greatest, half)))
    return (row << _TWO) | _TWO


@kernel
def insert(nodes: Words, table: Words, state: Int64s, key: np.uint64) -> bool:
    """Insert a key, for which there must be rows and slots; return whether it is new."""
    if state[SIZE] == 0:
        nodes[_ROOT, LEAST] = nodes[_ROOT, GREATEST] = key
        nodes[_ROOT, SUMMARY] = _ZERO
        state[SIZE] = 1
        return True
    node, bits = _ROOT, _ROOT_BITS
    while True:
        if bits == _LEAF:
            bit = _ONE << (key & np.uint64(63))
            word = key >> np.uint64(6)
            if nodes[node, word] & bit:
                return False
            nodes[node, word] |= bit
            break
        if key == nodes[node, LEAST]:
            return False
        if key < nodes[node, LEAST]:
            key, nodes[node, LEAST] = nodes[node, LEAST], key
        nodes[node, GREATEST] = max(key, nodes[node, GREATEST])
        bits >>= _ONE
        high, low = _high(key, bits), _low(key, bits)
        slot = find(table, node, high)
        in_summary = table[slot, 1] == _ZERO
        if in_summary:
            _put(table, state, node, high, _single(low))
            reference, key = nodes[node, SUMMARY], high
        else:
            reference, key = table[slot, 1], low
        if reference == _single(key):
            return False
        if reference == _ZERO:
            nodes[node, SUMMARY] = _single(key)
            break
        if _is_single(reference):
            reference = _pair(nodes, table, state, reference >> _TWO, key, bits)
            if in_summary:
                nodes[node, SUMMARY] = reference
            else:
                table[slot, 1] = reference
            break
        node = reference >> _TWO
    state[SIZE] += 1
    return True


@part
def _replace(
    nodes: Words,
    table: Words,
    node: np.uint64,
    high: np.uint64,
    in_summary: bool,
    single: np.uint64,
) -> None:
    """Replace a node's summary or cluster by a reference to a single key."""
    if in_summary:
        nodes[node, SUMMARY] = single
    else:
        table[find(table, node, high), 1] = single


@kernel
def discard(nodes: Words, table: Words, state: Int64s, key: np.uint64) -> bool:
    """Remove a key; return whether it was there."""
    if not contains(nodes, table, state, key):
        return False
    state[SIZE] -= 1
    if state[SIZE] == 0:
        return True
    path = np.empty(STEPS, dtype=np.uint64)
    gone = np.empty(STEPS, dtype=np.uint64)
    highs = np.empty(STEPS, dtype=np.uint64)
    in_summary = np.empty(STEPS, dtype=np.bool_)
    depth = 0
    node, bits = _ROOT, _ROOT_BITS
    while True:
        if bits == _LEAF:
            nodes[node, key >> np.uint64(6)] &= ~(_ONE << (key & np.uint64(63)))
            break
        bits >>= _ONE
        if key == nodes[node, LEAST]:
            # The least key is in no cluster: the next key takes its place and leaves its cluster.
            high = _least(nodes, nodes[node, SUMMARY], bits)
            cluster = table[find(table, node, high), 1]
            key = (high << bits) | _least(nodes, cluster, bits)
            nodes[node, LEAST] = key
        path[depth], gone[depth], highs[depth] = node, key, _high(key, bits)
        slot = find(table, node, highs[depth])
        reference = table[slot, 1]
        in_summary[depth] = _is_single(reference)
        if in_summary[depth]:
            _take_out(table, state, slot)
            reference, key = nodes[node, SUMMARY], highs[depth]
            if _is_single(reference):
                nodes[node, SUMMARY] = _ZERO
                depth += 1
                node = _ROOT
                break
        else:
            key = _low(key, bits)
        depth += 1
        node = reference >> _TWO
    if node != _ROOT:
        # A bitmap with one bit left becomes a reference to that key.
        left = _ZERO
        for word in range(4):
            left += popcount(nodes[node, word])
        if left == _ONE:
            key = _least(nodes, (node << _TWO) | _TWO, _LEAF)
            _free_row(nodes, state, node)
            last = depth - 1
            _replace(nodes, table, path[last], highs[last], in_summary[last], _single(key))
    while depth:
        depth -= 1
        node = path[depth]
        half = _ROOT_BITS >> np.uint64(depth + 1)
        if gone[depth] == nodes[node, GREATEST]:
            summary = nodes[node, SUMMARY]
            if summary == _ZERO:
                nodes[node, GREATEST] = nodes[node, LEAST]
            else:
                high = _greatest(nodes, summary, half)
                cluster = table[find(table, node, high), 1]
                nodes[node, GREATEST] = (high << half) | _greatest(nodes, cluster, half)
        if depth and nodes[node, SUMMARY] == _ZERO:
            key = nodes[node, LEAST]
            _free_row(nodes, state, node)
            up = depth - 1
            _replace(nodes, table, path[up], highs[up], in_summary[up], _single(key))
    return True


@kernel
def insert_all(nodes: Words, table: Words, state: Int64s, keys: Words) -> int:
    """Insert keys while there are rows and slots; return how many were inserted."""
    for done in range(len(keys)):
        if state[ROWS] >= len(nodes) or 2 * (state[ENTRIES] + STEPS) > len(table):
            return done
        insert(nodes, table, state, keys[done])
    return len(keys)


@kernel
def rehashed(table: Words) -> Words:
    """Return the table's entries in one of twice the size. O(entries)."""
    larger = np.zeros((2 * len(table), 2), dtype=np.uint64)
    for slot in range(len(table)):
        if table[slot, 1] != _ZERO:
            name = table[slot, 0]
            to = find(larger, name >> np.uint64(32), name & np.uint64(0xFFFFFFFF))
            larger[to, 0] = name
            larger[to, 1] = table[slot, 1]
    return larger


@kernel
def following(nodes: Words, table: Words, state: Int64s, key: np.uint64, keys: Words) -> int:
    """Write the keys that follow ``key``, ascending; return their number."""
    for done in range(len(keys)):
        found, key = successor(nodes, table, state, key)
        if not found:
            return done
        keys[done] = key
    return len(keys)
