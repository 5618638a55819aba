"""Values of the archive as messages."""

from __future__ import annotations

from slidekin.v1 import search_pb2
from slidekin_server.api import messages


def _hits(index: int, name_bytes: int) -> search_pb2.PatchHits:
    return search_pb2.PatchHits(
        query_patch_index=index, hits=[search_pb2.Hit(slide="s" * name_bytes)]
    )


def test_hits_share_messages_that_flow_control_lets_through():
    small, large = 100 * 1024, 300 * 1024
    sizes = [small, small, small, large, small, large, small]
    batches = messages.batched_hits([_hits(index, size) for index, size in enumerate(sizes)])
    assert [
        [hits.query_patch_index for hits in batch.patch_hits_batch.patch_hits] for batch in batches
    ] == [[0, 1], [2], [3], [4], [5], [6]]


def test_no_hits_are_no_message():
    assert messages.batched_hits([]) == []
