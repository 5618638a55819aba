"""The van Emde Boas tree behaves as an ordered set, whatever the keys."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sortedcontainers import SortedSet

from slidekin_server.index.errors import ParameterError
from slidekin_server.index.veb import VebTree

_BIG = 2**64 - 1
_EDGES = [0, 1, 2**63 - 1, 2**63, _BIG - 1, _BIG]
_POWERS = sorted({max(0, 2**power + near) for power in range(64) for near in (-1, 0, 1)})

KEYS = st.one_of(
    st.sampled_from(_EDGES),
    st.sampled_from(_POWERS),
    st.integers(0, _BIG),
    st.integers(0, 300),  # dense, within one bitmap or two
    st.integers(0, 40).map(lambda low: (7 << 32) | low),  # all equal high halves
    st.integers(0, 40).map(lambda high: (high << 32) | 9),  # all equal low halves
    st.integers(0, 40).map(lambda middle: (5 << 48) | (middle << 16) | 3),
    st.integers(0, 8 * 10**14),  # the range of SISH's keys
)
ANYWHERE = st.one_of(KEYS, st.integers(-3, -1), st.integers(_BIG + 1, _BIG + 3), st.just(-(2**70)))


class OrderedSet(RuleBasedStateMachine):
    """Random operations, side by side on the tree and on a sorted set."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = VebTree()
        self.model: SortedSet[int] = SortedSet()

    @rule(key=KEYS)
    def insert(self, key: int) -> None:
        assert self.tree.insert(key) == (key not in self.model)
        self.model.add(key)

    @rule(first=KEYS, count=st.integers(1, 80), stride=st.sampled_from([1, 2, 255, 256, 65537]))
    def insert_a_run(self, first: int, count: int, stride: int) -> None:
        for key in range(first, min(first + count * stride, _BIG + 1), stride):
            assert self.tree.insert(key) == (key not in self.model)
            self.model.add(key)

    @rule(key=ANYWHERE)
    def discard(self, key: int) -> None:
        assert self.tree.discard(key) == (key in self.model)
        self.model.discard(key)

    @rule(place=st.floats(0, 1, exclude_max=True), count=st.integers(1, 60))
    def discard_members(self, place: float, count: int) -> None:
        for _ in range(min(count, len(self.model))):
            key = self.model[int(place * len(self.model))]
            assert self.tree.discard(key)
            self.model.remove(key)

    @rule(x=ANYWHERE)
    def ask_for_neighbours(self, x: int) -> None:
        above = self.model.bisect_right(x)
        below = self.model.bisect_left(x)
        assert (x in self.tree) == (x in self.model)
        assert self.tree.successor(x) == (self.model[above] if above < len(self.model) else None)
        assert self.tree.predecessor(x) == (self.model[below - 1] if below else None)

    @rule()
    def walk_all(self) -> None:
        expected = list(self.model)
        assert list(self.tree) == expected
        for one, other in itertools.pairwise(expected):
            assert self.tree.successor(one) == other
            assert self.tree.predecessor(other) == one

    @invariant()
    def keeps_its_invariants(self) -> None:
        self.tree._check()
        assert len(self.tree) == len(self.model)
        assert self.tree.min() == (self.model[0] if self.model else None)
        assert self.tree.max() == (self.model[-1] if self.model else None)


OrderedSet.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestOrderedSet = OrderedSet.TestCase


@settings(deadline=None, max_examples=100)
@given(st.lists(KEYS, max_size=300))
def test_building_at_once_equals_inserting_one_by_one(keys: list[int]) -> None:
    tree = VebTree.build(np.array(keys, dtype=np.uint64))
    tree._check()
    assert list(tree) == list(VebTree(keys)) == sorted(set(keys))


@pytest.mark.parametrize(
    "keys",
    [
        np.arange(70_000),
        np.arange(3_000) << 40,
        np.sort(np.random.default_rng(3).integers(0, 2**63 - 1, 20_000)),
        (np.arange(500)[:, None] * 10**12 + np.arange(40)).ravel(),
    ],
    ids=["dense", "equal low halves", "random", "clustered"],
)
def test_many_keys_come_and_go(keys: np.ndarray) -> None:
    tree = VebTree.build(keys)
    tree._check()
    expected = np.unique(keys).tolist()
    assert list(tree) == expected
    shuffled = np.random.default_rng(5).permutation(expected)
    for key in shuffled[::2].tolist():
        assert tree.discard(key)
    tree._check()
    assert list(tree) == sorted(shuffled[1::2].tolist())
    for key in shuffled[1::2].tolist():
        assert tree.discard(key)
    tree._check()
    assert len(tree) == 0


@pytest.mark.parametrize("key", [-1, 2**64])
def test_a_key_out_of_range_is_refused(key: int) -> None:
    tree = VebTree([5])
    with pytest.raises(ParameterError, match="key: must lie in"):
        tree.insert(key)
    assert key not in tree
    assert not tree.discard(key)
    assert list(tree) == [5]


def test_negative_keys_are_refused_when_building() -> None:
    with pytest.raises(ParameterError, match="must not be negative"):
        VebTree.build(np.array([3, -1]))


def test_memory_grows_with_the_keys_and_not_with_their_range() -> None:
    keys = np.random.default_rng(1).integers(0, 2**63 - 1, 50_000)
    assert VebTree.build(keys).nbytes / len(keys) < 200
