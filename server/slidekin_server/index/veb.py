"""A van Emde Boas tree over unsigned 64-bit keys: successor and predecessor in O(log log u).

A tree over w-bit keys keeps its least and its greatest key by themselves and splits every other
key into a high and a low half: the low halves of keys that share a high half form a cluster, a
tree over w / 2 bits, and the high halves themselves form the summary, another such tree. An
operation goes on in one of the two only, so it takes log w steps: 64, 32, 16 and then 8 bits, where
a tree is a bitmap of 256 bits. (P. van Emde Boas, Preserving order in a forest in less than
logarithmic time and linear space, Information Processing Letters 6, 1977.)

Clusters are found by hashing, so memory grows with the keys that are held and not with the range
they come from. Everything lies in two flat arrays and is compiled:

- ``nodes``: a row of four words is a tree of two keys or more: least key, greatest key, reference
  to its summary - or, over 8 bits, the bitmap. Row 0 is the root.
- ``table``: open addressing with linear probing, from (node, high half) to the reference of the
  cluster.

A reference is a tree of any size: 0 for none, ``key << 2 | 1`` for a single key, which needs no
row, ``row << 2 | 2`` for more.

Where it serves: one writer that changes a set of single keys all the time and asks for neighbours
in between. A search of many readers over versions, as `CollectionIndex` needs it, is better off
with a sorted directory of blocks: copying one is what makes a version, and it is small enough that
its binary search stays in the cache.
"""

# Compiled functions take columns one by one, and branch where a call would cost or need a copy.
# ruff: noqa: C901, FBT001, PLR0912, PLR0915, PLR0917

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slidekin_server.index.compiled import (
    Int64s,
    Words,
    highest_bit,
    inlined,
    kernel,
    lowest_bit,
    part,
    popcount,
)
from slidekin_server.index.errors import ParameterError

_MAX_KEY: Final = 2**64 - 1
_STEPS: Final = 4
"""Trees on one path: over 64, 32, 16 and 8 bits."""
_LEAF: Final = np.uint64(8)
_ROOT_BITS: Final = np.uint64(64)
_ZERO: Final = np.uint64(0)
_ONE: Final = np.uint64(1)
_TWO: Final = np.uint64(2)
_ROOT: Final = np.uint64(0)
_LEAST, _GREATEST, _SUMMARY = 0, 1, 2
_SIZE, _ROWS, _FREE, _ENTRIES = 0, 1, 2, 3
"""Places in ``state``: keys held, rows ever used, first free row (0: none), entries in the table.
Free rows are chained through their first word."""
_CHUNK: Final = 1024
"""Keys that an iteration fetches at a time."""


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
def _find(table: Words, node: np.uint64, high: np.uint64) -> np.uint64:
    """Find the slot of a cluster, or the free slot it would take. Expected O(1)."""
    name = _name(node, high)
    mask = np.uint64(len(table) - 1)
    slot = _home(table, name)
    while table[slot, 1] != _ZERO and table[slot, 0] != name:
        slot = (slot + _ONE) & mask
    return slot


@part
def _take_out(table: Words, state: Int64s, slot: np.uint64) -> None:
    """Empty a slot and close the gap, so that probing needs no tombstones. Expected O(1)."""
    mask = np.uint64(len(table) - 1)
    gap = slot
    slot = (slot + _ONE) & mask
    while table[slot, 1] != _ZERO:
        home = _home(table, table[slot, 0])
        # Whether the entry may move back to the gap: its home does not lie between the two.
        if ((slot - home) & mask) >= ((slot - gap) & mask):
            table[gap, 0] = table[slot, 0]
            table[gap, 1] = table[slot, 1]
            gap = slot
        slot = (slot + _ONE) & mask
    table[gap, 1] = _ZERO
    state[_ENTRIES] -= 1


@part
def _put(
    table: Words, state: Int64s, node: np.uint64, high: np.uint64, reference: np.uint64
) -> None:
    slot = _find(table, node, high)
    table[slot, 0] = _name(node, high)
    table[slot, 1] = reference
    state[_ENTRIES] += 1


@part
def _new_row(nodes: Words, state: Int64s) -> np.uint64:
    row = state[_FREE]
    if row:
        state[_FREE] = np.int64(nodes[row, 0])
    else:
        row = state[_ROWS]
        state[_ROWS] += 1
    nodes[row] = _ZERO
    return np.uint64(row)


@part
def _free_row(nodes: Words, state: Int64s, row: np.uint64) -> None:
    nodes[row, 0] = np.uint64(state[_FREE])
    state[_FREE] = np.int64(row)


@part
def _bitmap_next(words: Words, key: np.uint64) -> np.uint64:
    """Return the least bit > key; there is one."""
    key += _ONE
    word = key >> np.uint64(6)
    rest = words[word] & (~_ZERO << (key & np.uint64(63)))
    while rest == _ZERO:
        word += _ONE
        rest = words[word]
    return (word << np.uint64(6)) | lowest_bit(rest)


@part
def _bitmap_previous(words: Words, key: np.uint64) -> np.uint64:
    """Return the greatest bit < key; there is one."""
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
        return np.uint64(words[_LEAST])
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
        return np.uint64(words[_GREATEST])
    word = np.uint64(3)
    while words[word] == _ZERO:
        word -= _ONE
    return (word << np.uint64(6)) | highest_bit(words[word])


@kernel
def _contains(nodes: Words, table: Words, state: Int64s, key: np.uint64) -> bool:
    if state[_SIZE] == 0:
        return False
    node, bits = _ROOT, _ROOT_BITS
    while True:
        if bits == _LEAF:
            return bool((nodes[node, key >> np.uint64(6)] >> (key & np.uint64(63))) & _ONE)
        if key == nodes[node, _LEAST]:
            return True
        bits >>= _ONE
        reference = table[_find(table, node, _high(key, bits)), 1]
        key = _low(key, bits)
        if reference == _ZERO or _is_single(reference):
            return bool(reference == _single(key))
        node = reference >> _TWO


@kernel
def _successor(nodes: Words, table: Words, state: Int64s, key: np.uint64) -> tuple[bool, np.uint64]:
    """Return (True, least key > ``key``), or (False, 0)."""
    if state[_SIZE] == 0 or key >= nodes[_ROOT, _GREATEST]:
        return False, _ZERO
    # How to make the answer of a half into that of the whole: a high half to put in front, or,
    # where the high half itself was looked for, the node whose cluster holds the low one.
    fronts = np.empty(_STEPS, dtype=np.uint64)
    below = np.empty(_STEPS, dtype=np.bool_)
    depth = 0
    node, bits = _ROOT, _ROOT_BITS
    while True:
        if bits == _LEAF:
            found = _bitmap_next(nodes[node], key)
            break
        if key < nodes[node, _LEAST]:
            found = nodes[node, _LEAST]
            break
        bits >>= _ONE
        high, low = _high(key, bits), _low(key, bits)
        reference = table[_find(table, node, high), 1]
        below[depth] = reference != _ZERO and low < _greatest(nodes, reference, bits)
        if below[depth]:
            fronts[depth], key = high, low
        else:
            fronts[depth], key = node, high
            reference = nodes[node, _SUMMARY]
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
            cluster = table[_find(table, fronts[depth], found), 1]
            found = (found << half) | _least(nodes, cluster, half)
    return True, found


@kernel
def _predecessor(
    nodes: Words, table: Words, state: Int64s, key: np.uint64
) -> tuple[bool, np.uint64]:
    """Return (True, greatest key < ``key``), or (False, 0)."""
    if state[_SIZE] == 0 or key <= nodes[_ROOT, _LEAST]:
        return False, _ZERO
    fronts = np.empty(_STEPS, dtype=np.uint64)
    below = np.empty(_STEPS, dtype=np.bool_)
    depth = 0
    node, bits = _ROOT, _ROOT_BITS
    while True:
        if bits == _LEAF:
            found = _bitmap_previous(nodes[node], key)
            break
        if key > nodes[node, _GREATEST]:
            found = nodes[node, _GREATEST]
            break
        half = bits >> _ONE
        high, low = _high(key, half), _low(key, half)
        reference = table[_find(table, node, high), 1]
        summary = nodes[node, _SUMMARY]
        below[depth] = reference != _ZERO and low > _least(nodes, reference, half)
        if below[depth]:
            fronts[depth], key = high, low
        elif summary == _ZERO or high <= _least(nodes, summary, half):
            found = nodes[node, _LEAST]  # which no cluster holds
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
            cluster = table[_find(table, fronts[depth], found), 1]
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
        nodes[row, _LEAST], nodes[row, _GREATEST] = least, greatest
        nodes[row, _SUMMARY] = _single(_high(greatest, half))
        _put(table, state, row, _high(greatest, half), _single(_low(greatest, half)))
    return (row << _TWO) | _TWO


@kernel
def _insert(nodes: Words, table: Words, state: Int64s, key: np.uint64) -> bool:
    """Insert a key where rows and slots suffice; say whether it is new."""
    if state[_SIZE] == 0:
        nodes[_ROOT, _LEAST] = nodes[_ROOT, _GREATEST] = key
        nodes[_ROOT, _SUMMARY] = _ZERO
        state[_SIZE] = 1
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
        if key == nodes[node, _LEAST]:
            return False
        if key < nodes[node, _LEAST]:
            key, nodes[node, _LEAST] = nodes[node, _LEAST], key
        nodes[node, _GREATEST] = max(key, nodes[node, _GREATEST])
        bits >>= _ONE
        high, low = _high(key, bits), _low(key, bits)
        slot = _find(table, node, high)
        in_summary = table[slot, 1] == _ZERO
        if in_summary:
            _put(table, state, node, high, _single(low))
            reference, key = nodes[node, _SUMMARY], high
        else:
            reference, key = table[slot, 1], low
        if reference == _single(key):
            return False
        if reference == _ZERO:
            nodes[node, _SUMMARY] = _single(key)
            break
        if _is_single(reference):
            reference = _pair(nodes, table, state, reference >> _TWO, key, bits)
            if in_summary:
                nodes[node, _SUMMARY] = reference
            else:
                table[slot, 1] = reference
            break
        node = reference >> _TWO
    state[_SIZE] += 1
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
    """Let a node refer to a single key in place of a summary or of a cluster."""
    if in_summary:
        nodes[node, _SUMMARY] = single
    else:
        table[_find(table, node, high), 1] = single


@kernel
def _discard(nodes: Words, table: Words, state: Int64s, key: np.uint64) -> bool:
    """Remove a key; say whether it was there."""
    if not _contains(nodes, table, state, key):
        return False
    state[_SIZE] -= 1
    if state[_SIZE] == 0:
        return True
    path = np.empty(_STEPS, dtype=np.uint64)
    gone = np.empty(_STEPS, dtype=np.uint64)
    highs = np.empty(_STEPS, dtype=np.uint64)
    in_summary = np.empty(_STEPS, dtype=np.bool_)
    depth = 0
    node, bits = _ROOT, _ROOT_BITS
    while True:
        if bits == _LEAF:
            nodes[node, key >> np.uint64(6)] &= ~(_ONE << (key & np.uint64(63)))
            break
        bits >>= _ONE
        if key == nodes[node, _LEAST]:
            # The least key lies in no cluster: the next one takes its place and leaves its own.
            high = _least(nodes, nodes[node, _SUMMARY], bits)
            cluster = table[_find(table, node, high), 1]
            key = (high << bits) | _least(nodes, cluster, bits)
            nodes[node, _LEAST] = key
        path[depth], gone[depth], highs[depth] = node, key, _high(key, bits)
        slot = _find(table, node, highs[depth])
        reference = table[slot, 1]
        in_summary[depth] = _is_single(reference)
        if in_summary[depth]:
            _take_out(table, state, slot)
            reference, key = nodes[node, _SUMMARY], highs[depth]
            if _is_single(reference):
                nodes[node, _SUMMARY] = _ZERO
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
        if gone[depth] == nodes[node, _GREATEST]:
            summary = nodes[node, _SUMMARY]
            if summary == _ZERO:
                nodes[node, _GREATEST] = nodes[node, _LEAST]
            else:
                high = _greatest(nodes, summary, half)
                cluster = table[_find(table, node, high), 1]
                nodes[node, _GREATEST] = (high << half) | _greatest(nodes, cluster, half)
        if depth and nodes[node, _SUMMARY] == _ZERO:
            key = nodes[node, _LEAST]
            _free_row(nodes, state, node)
            up = depth - 1
            _replace(nodes, table, path[up], highs[up], in_summary[up], _single(key))
    return True


@kernel
def _insert_all(nodes: Words, table: Words, state: Int64s, keys: Words) -> int:
    """Insert keys while rows and slots suffice; say how many were."""
    for done in range(len(keys)):
        if state[_ROWS] >= len(nodes) or 2 * (state[_ENTRIES] + _STEPS) > len(table):
            return done
        _insert(nodes, table, state, keys[done])
    return len(keys)


@kernel
def _rehashed(table: Words) -> Words:
    larger = np.zeros((2 * len(table), 2), dtype=np.uint64)
    for slot in range(len(table)):
        if table[slot, 1] != _ZERO:
            name = table[slot, 0]
            to = _find(larger, name >> np.uint64(32), name & np.uint64(0xFFFFFFFF))
            larger[to, 0] = name
            larger[to, 1] = table[slot, 1]
    return larger


@kernel
def _following(nodes: Words, table: Words, state: Int64s, key: np.uint64, keys: Words) -> int:
    """Write the keys that follow ``key``, ascending; say how many."""
    for done in range(len(keys)):
        found, key = _successor(nodes, table, state, key)
        if not found:
            return done
        keys[done] = key
    return len(keys)


class VebTree:
    """An ordered set of integers 0..2**64 - 1.

    Not safe for several threads of which one writes.
    """

    def __init__(self, keys: Iterable[int] = ()) -> None:
        """Make a tree of some keys. Expected O(n log log u)."""
        self._nodes: NDArray[np.uint64] = np.zeros((16, 4), dtype=np.uint64)
        self._table: NDArray[np.uint64] = np.zeros((32, 2), dtype=np.uint64)
        self._state: NDArray[np.int64] = np.array([0, 1, 0, 0], dtype=np.int64)
        for key in keys:
            self.insert(key)

    @classmethod
    def build(cls, keys: NDArray[np.integer[Any]]) -> VebTree:
        """Make a tree of many keys at once; sorted ones are the fastest. Expected O(n log log u).

        Args:
            keys: Shape (n,), any integer type, none negative; equal keys count once.

        Raises:
            ParameterError: A key is negative.
        """
        if keys.size and keys.min() < 0:
            raise ParameterError("keys", "must not be negative")
        tree = cls()
        rest = keys.astype(np.uint64)
        while len(rest):
            rest = rest[_insert_all(tree._nodes, tree._table, tree._state, rest) :]
            tree._make_room()
        return tree

    def __len__(self) -> int:
        """Return the number of keys. O(1)."""
        return int(self._state[_SIZE])

    def __contains__(self, key: int) -> bool:
        """Say whether a key is in the set. Expected O(log log u)."""
        return 0 <= key <= _MAX_KEY and bool(_contains(*self._columns, np.uint64(key)))

    def __iter__(self) -> Iterator[int]:
        """Yield the keys, ascending. Expected O(n log log u)."""
        chunk = np.empty(_CHUNK, dtype=np.uint64)
        last = self.min()
        while last is not None:
            yield last
            size = _following(*self._columns, np.uint64(last), chunk)
            keys = chunk[:size].tolist()
            yield from keys[:-1]
            last = keys[-1] if keys else None

    @property
    def nbytes(self) -> int:
        """Memory of the arrays, in bytes. O(keys)."""
        return self._nodes.nbytes + self._table.nbytes

    def insert(self, key: int) -> bool:
        """Insert a key; say whether it is new. Expected and amortised O(log log u).

        Raises:
            ParameterError: The key is outside 0..2**64 - 1.
        """
        if not 0 <= key <= _MAX_KEY:
            raise ParameterError("key", "must lie in 0..2**64 - 1")
        self._make_room()
        return bool(_insert(*self._columns, np.uint64(key)))

    def discard(self, key: int) -> bool:
        """Remove a key if it is there; say whether it was. Expected O(log log u)."""
        return 0 <= key <= _MAX_KEY and bool(_discard(*self._columns, np.uint64(key)))

    def min(self) -> int | None:
        """Return the least key, None if there is none. O(1)."""
        return int(self._nodes[_ROOT, _LEAST]) if len(self) else None

    def max(self) -> int | None:
        """Return the greatest key, None if there is none. O(1)."""
        return int(self._nodes[_ROOT, _GREATEST]) if len(self) else None

    def successor(self, key: int) -> int | None:
        """Return the least key > ``key``, None if there is none. Expected O(log log u).

        Args:
            key: np.uint64 integer; need be no member, may be negative or beyond every key.
        """
        if key < 0:
            return self.min()
        if key >= _MAX_KEY:
            return None
        found, successor = _successor(*self._columns, np.uint64(key))
        return int(successor) if found else None

    def predecessor(self, key: int) -> int | None:
        """Return the greatest key < ``key``, None if there is none. Expected O(log log u).

        Args:
            key: np.uint64 integer; need be no member, may be negative or beyond every key.
        """
        if key <= 0:
            return None
        if key > _MAX_KEY:
            return self.max()
        found, predecessor = _predecessor(*self._columns, np.uint64(key))
        return int(predecessor) if found else None

    @property
    def _columns(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
        return self._nodes, self._table, self._state

    def _make_room(self) -> None:
        """See to it that one more insertion finds its row and its slots. Amortised O(1)."""
        if self._state[_ROWS] >= len(self._nodes):
            self._nodes = np.concatenate([self._nodes, np.zeros_like(self._nodes)])
        if 2 * (self._state[_ENTRIES] + _STEPS) > len(self._table):
            self._table = _rehashed(self._table)

    def _check(self) -> None:
        """Assert every invariant. O(n)."""
        nodes, table = self._nodes.tolist(), self._table.tolist()
        clusters: dict[int, dict[int, int]] = {}
        for name, reference in table:
            if reference:
                assert name >> 32 not in clusters or (
                    name & 0xFFFFFFFF not in clusters[name >> 32]
                ), "a cluster is in the table twice"
                clusters.setdefault(name >> 32, {})[name & 0xFFFFFFFF] = reference
                slot = int(_find(self._table, np.uint64(name >> 32), np.uint64(name & 0xFFFFFFFF)))
                assert table[slot] == [name, reference], "probing does not reach an entry"
        entries = sum(len(own) for own in clusters.values())
        assert entries == self._state[_ENTRIES]
        assert 2 * entries <= len(table)
        rows = {0}

        def keys_of(reference: int, bits: int) -> list[int]:
            """Check a tree that is not the root; return its keys, ascending."""
            assert reference & 3 in {1, 2}
            if reference & 1:
                assert reference >> 2 < 1 << bits
                return [reference >> 2]
            row = reference >> 2
            assert row not in rows, "two references to a row"
            rows.add(row)
            if bits == 8:
                keys = [key for key in range(256) if nodes[row][key >> 6] >> (key & 63) & 1]
            else:
                keys = keys_of_node(row, bits)
            assert len(keys) >= 2, "a row for a single key"
            return keys

        def keys_of_node(row: int, bits: int) -> list[int]:
            half = bits // 2
            own = clusters.pop(row, {})
            highs = keys_of(nodes[row][_SUMMARY], half) if nodes[row][_SUMMARY] else []
            assert highs == sorted(own), "the summary does not name the clusters"
            keys = [nodes[row][_LEAST]]
            for high in highs:
                keys += [high << half | low for low in keys_of(own[high], half)]
            assert all(one < other for one, other in itertools.pairwise(keys))
            assert keys[-1] == nodes[row][_GREATEST]
            assert keys[-1] < 1 << bits
            return keys

        keys = keys_of_node(0, 64) if len(self) else []
        assert len(keys) == len(self)
        assert not clusters, "clusters of no node"
        free = int(self._state[_FREE])
        while free:
            assert free not in rows, "a row is both free and in use"
            rows.add(free)
            free = nodes[free][0]
        assert rows == set(range(int(self._state[_ROWS]))), "a row is neither free nor in use"
