"""The state of a service, and its snapshots."""

from __future__ import annotations

from collections.abc import Mapping

from slidekin._types import EncoderState, Limits, Model, Network, ServedModel, Snapshot, Status
from slidekin._wire.fields import to_time
from slidekin.v1 import admin_pb2

_ENCODER_STATES: Mapping[int, EncoderState] = {
    admin_pb2.ENCODER_STATE_ABSENT: "absent",
    admin_pb2.ENCODER_STATE_STARTING: "starting",
    admin_pb2.ENCODER_STATE_READY: "ready",
    admin_pb2.ENCODER_STATE_UNAVAILABLE: "unavailable",
    admin_pb2.ENCODER_STATE_CANARY_MISMATCH: "canary-mismatch",
}


def to_status(message: admin_pb2.GetStatusResponse) -> Status:
    """What a service serves, and in which state."""
    limits = message.limits
    return Status(
        version=message.version,
        start_time=to_time(message.start_time, present=message.HasField("start_time")),
        index_loaded=message.index_loaded,
        encoder_state=_ENCODER_STATES.get(message.encoder_state, "unknown"),
        encoder_message=message.encoder_message,
        model=_to_model(message.model),
        limits=Limits(
            max_message_bytes=limits.max_message_bytes,
            max_image_bytes=limits.max_image_bytes,
            max_image_pixels=limits.max_image_pixels,
            max_thumbnail_bytes=limits.max_thumbnail_bytes,
            max_patches_per_slide=limits.max_patches_per_slide,
            max_k=limits.max_k,
            max_hits_per_patch=limits.max_hits_per_patch,
        ),
        collection_count=message.collection_count,
        slide_count=message.slide_count,
        patch_count=message.patch_count,
        damaged_slide_count=message.damaged_slide_count,
        damaged_slides=tuple(message.damaged_slides),
        models=tuple(
            ServedModel(
                model=_to_model(served.model),
                name=served.name,
                active=served.active,
                encoder_state=_ENCODER_STATES.get(served.encoder_state, "unknown"),
                encoder_message=served.encoder_message,
            )
            for served in message.models
        ),
    )


def _to_model(message: admin_pb2.Model) -> Model:
    return Model(
        fingerprint=message.fingerprint,
        texture_bits=message.texture_bits,
        hamming_threshold_bits=message.hamming_threshold_bits,
        random_weights=message.random_weights,
        networks=tuple(
            Network(
                role=network.role,
                name=network.name,
                architecture=network.architecture,
                source=network.source,
                licence=network.licence,
                random_weights=network.random_weights,
                runtime=network.runtime,
                precision=network.precision,
            )
            for network in message.networks
        ),
    )


def to_snapshot(message: admin_pb2.Snapshot) -> Snapshot:
    """A copy of a service's store."""
    return Snapshot(
        name=message.name,
        create_time=to_time(message.create_time, present=message.HasField("create_time")),
        sequence=message.sequence,
        size_bytes=message.size_bytes,
        sha256=message.sha256,
        collection_count=message.collection_count,
        slide_count=message.slide_count,
        patch_count=message.patch_count,
        damaged_slide_count=message.damaged_slide_count,
        problem=message.problem,
    )
