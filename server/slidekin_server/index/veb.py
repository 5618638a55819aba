"""A van Emde Boas tree over unsigned 64-bit keys: successor and predecessor in O(log log u).

A tree over w-bit keys stores its least and its greatest key separately and splits every other key
into a high and a low half. The low halves of keys that share a high half form a cluster, a tree
over w / 2 bits. The high halves form the summary, another such tree. An operation continues in only
one of the two, so it takes log w steps: 64, 32, 16 and then 8 bits, where a tree is a bitmap of 256
bits. (P. van Emde Boas, Preserving order in a forest in less than logarithmic time and linear
space, Information Processing Letters 6, 1977.)

Clusters are found by hashing, so memory grows with the number of keys and not with their range.

It suits one writer that changes single keys all the time and asks for neighbours in between. For
many readers over versions, as in `CollectionIndex`, a sorted directory of blocks is better: copying
it makes a version, and it is small enough that its binary search stays in the cache.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slidekin_server.index import veb_nodes
from slidekin_server.index.errors import ParameterError

_MAX_KEY: Final = 2**64 - 1
_CHUNK: Final = 1024
"""Keys that an iteration fetches at a time."""


class VebTree:
    """An ordered set of integers 0..2**64 - 1.

    Not thread-safe if a thread writes.
    """

    def __init__(self, keys: Iterable[int] = ()) -> None:
        """Make a tree from some keys. Expected O(n log log u)."""
        self._nodes: NDArray[np.uint64] = np.zeros((16, 4), dtype=np.uint64)
        self._table: NDArray[np.uint64] = np.zeros((32, 2), dtype=np.uint64)
        self._state: NDArray[np.int64] = np.array([0, 1, 0, 0], dtype=np.int64)
        for key in keys:
            self.insert(key)

    @classmethod
    def build(cls, keys: NDArray[np.integer[Any]]) -> VebTree:
        """Make a tree from many keys; sorted ones are the fastest. Expected O(n log log u).

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
            rest = rest[veb_nodes.insert_all(tree._nodes, tree._table, tree._state, rest) :]
            tree._make_room()
        return tree

    def __len__(self) -> int:
        """Return the number of keys. O(1)."""
        return int(self._state[veb_nodes.SIZE])

    def __contains__(self, key: int) -> bool:
        """Return whether a key is in the set. Expected O(log log u)."""
        return 0 <= key <= _MAX_KEY and bool(veb_nodes.contains(*self._columns, np.uint64(key)))

    def __iter__(self) -> Iterator[int]:
        """Yield the keys, ascending. Expected O(n log log u)."""
        chunk = np.empty(_CHUNK, dtype=np.uint64)
        last = self.min()
        while last is not None:
            yield last
            size = veb_nodes.following(*self._columns, np.uint64(last), chunk)
            keys = chunk[:size].tolist()
            yield from keys[:-1]
            last = keys[-1] if keys else None

    @property
    def nbytes(self) -> int:
        """Memory of the arrays, in bytes. O(keys)."""
        return self._nodes.nbytes + self._table.nbytes

    def insert(self, key: int) -> bool:
        """Insert a key; return whether it is new. Expected and amortised O(log log u).

        Raises:
            ParameterError: The key is outside 0..2**64 - 1.
        """
        if not 0 <= key <= _MAX_KEY:
            raise ParameterError("key", "must lie in 0..2**64 - 1")
        self._make_room()
        return bool(veb_nodes.insert(*self._columns, np.uint64(key)))

    def discard(self, key: int) -> bool:
        """Remove a key if it is there; return whether it was. Expected O(log log u)."""
        return 0 <= key <= _MAX_KEY and bool(veb_nodes.discard(*self._columns, np.uint64(key)))

    def min(self) -> int | None:
        """Return the least key, None if there is none. O(1)."""
        return int(self._nodes[0, veb_nodes.LEAST]) if len(self) else None

    def max(self) -> int | None:
        """Return the greatest key, None if there is none. O(1)."""
        return int(self._nodes[0, veb_nodes.GREATEST]) if len(self) else None

    def successor(self, key: int) -> int | None:
        """Return the least key > ``key``, None if there is none. Expected O(log log u).

        Args:
            key: np.uint64 integer; need be no member, may be negative or beyond every key.
        """
        if key < 0:
            return self.min()
        if key >= _MAX_KEY:
            return None
        found, successor = veb_nodes.successor(*self._columns, np.uint64(key))
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
        found, predecessor = veb_nodes.predecessor(*self._columns, np.uint64(key))
        return int(predecessor) if found else None

    @property
    def _columns(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
        return self._nodes, self._table, self._state

    def _make_room(self) -> None:
        """Make sure that one more insertion finds its row and its slots. Amortised O(1)."""
        if self._state[veb_nodes.ROWS] >= len(self._nodes):
            self._nodes = np.concatenate([self._nodes, np.zeros_like(self._nodes)])
        if 2 * (self._state[veb_nodes.ENTRIES] + veb_nodes.STEPS) > len(self._table):
            self._table = veb_nodes.rehashed(self._table)

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
                slot = int(
                    veb_nodes.find(self._table, np.uint64(name >> 32), np.uint64(name & 0xFFFFFFFF))
                )
                assert table[slot] == [name, reference], "probing does not reach an entry"
        entries = sum(len(own) for own in clusters.values())
        assert entries == self._state[veb_nodes.ENTRIES]
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
            highs = (
                keys_of(nodes[row][veb_nodes.SUMMARY], half)
                if nodes[row][veb_nodes.SUMMARY]
                else []
            )
            assert highs == sorted(own), "the summary does not name the clusters"
            keys = [nodes[row][veb_nodes.LEAST]]
            for high in highs:
                keys += [high << half | low for low in keys_of(own[high], half)]
            assert all(one < other for one, other in itertools.pairwise(keys))
            assert keys[-1] == nodes[row][veb_nodes.GREATEST]
            assert keys[-1] < 1 << bits
            return keys

        keys = keys_of_node(0, 64) if len(self) else []
        assert len(keys) == len(self)
        assert not clusters, "clusters of no node"
        free = int(self._state[veb_nodes.FREE])
        while free:
            assert free not in rows, "a row is both free and in use"
            rows.add(free)
            free = nodes[free][0]
        assert rows == set(range(int(self._state[veb_nodes.ROWS]))), (
            "a row is neither free nor in use"
        )
