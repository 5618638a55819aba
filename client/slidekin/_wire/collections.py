"""Collections and reindexes."""

from __future__ import annotations

from slidekin._types import Collection, Reindex
from slidekin._wire.fields import to_time
from slidekin.v1 import collections_pb2


def to_collection(message: collections_pb2.Collection) -> Collection:
    """A collection as the service knows it."""
    return Collection(
        name=message.name,
        display_name=message.display_name,
        description=message.description,
        model_fingerprint=message.model_fingerprint,
        texture_bits=message.texture_bits,
        hamming_threshold_bits=message.hamming_threshold_bits,
        slide_count=message.slide_count,
        patch_count=message.patch_count,
        index_version=message.index_version,
        create_time=to_time(message.create_time, present=message.HasField("create_time")),
        reindex_model_fingerprint=message.reindex_model_fingerprint,
    )


def to_reindex(message: collections_pb2.Reindex) -> Reindex:
    """A collection on its way to another model."""
    return Reindex(
        collection=message.collection,
        model_fingerprint=message.model_fingerprint,
        texture_bits=message.texture_bits,
        hamming_threshold_bits=message.hamming_threshold_bits,
        done_slide_count=message.done_slide_count,
        pending_slide_count=message.pending_slide_count,
        create_time=to_time(message.create_time, present=message.HasField("create_time")),
        damaged_slides=tuple(message.damaged_slides),
    )
