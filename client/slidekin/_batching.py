"""Patches into messages: messages cost more than bytes, so each is filled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from slidekin.v1 import common_pb2

FILL_BYTES = 256 * 1024
"""A message goes out as soon as it holds this much: smaller ones waste calls, larger ones keep
the networks waiting."""
FULL_BYTES = 1024 * 1024
"""No further patch joins a message that it would make larger than this."""


def in_batches(
    patches: Iterable[common_pb2.Patch],
    *,
    fill_bytes: int = FILL_BYTES,
    full_bytes: int = FULL_BYTES,
) -> Iterator[common_pb2.PatchBatch]:
    """Gathers patches, in order; none is held back longer than it takes to fill its message."""
    batch = common_pb2.PatchBatch()
    size = 0
    for patch in patches:
        patch_bytes = patch.ByteSize()
        if batch.patches and size + patch_bytes > full_bytes:
            yield batch
            batch, size = common_pb2.PatchBatch(), 0
        batch.patches.append(patch)
        size += patch_bytes
        if size >= fill_bytes:
            yield batch
            batch, size = common_pb2.PatchBatch(), 0
    if batch.patches:
        yield batch
