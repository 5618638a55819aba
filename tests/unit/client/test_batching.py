from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from slidekin._batching import FILL_BYTES, FULL_BYTES, in_batches
from slidekin.v1 import common_pb2

_KIB = 1024


def _patch(size: int, x: int = 0) -> common_pb2.Patch:
    return common_pb2.Patch(x_px=x, image=common_pb2.Image(data=bytes(size)))


@given(st.lists(st.integers(1, 3 * 1024 * _KIB), max_size=12))
def test_patches_keep_their_order_and_messages_stay_between_their_bounds(sizes: list[int]):
    batches = list(in_batches(_patch(size, x) for x, size in enumerate(sizes)))
    assert [p.x_px for batch in batches for p in batch.patches] == list(range(len(sizes)))
    for batch in batches:
        assert len(batch.patches) == 1 or sum(p.ByteSize() for p in batch.patches) <= FULL_BYTES
    for batch, after in itertools.pairwise(batches):
        full = sum(p.ByteSize() for p in batch.patches)
        following = after.patches[0].ByteSize()
        assert full >= FILL_BYTES or full + following > FULL_BYTES


def test_no_patch_is_asked_for_before_the_message_it_filled_is_taken():
    asked: list[int] = []

    def patches():
        for x in range(6):
            asked.append(x)
            yield _patch(200 * _KIB, x)

    batches = in_batches(patches())
    assert asked == []
    assert len(next(batches).patches) == 2
    assert asked == [0, 1]


def test_small_patches_share_a_message():
    (batch,) = in_batches(_patch(150) for _ in range(500))
    assert len(batch.patches) == 500
