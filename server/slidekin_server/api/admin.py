"""AdminService."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from grpc.aio import ServicerContext

from slidekin.v1 import admin_pb2, admin_pb2_grpc
from slidekin_server.api import messages
from slidekin_server.archive.archive import Archive
from slidekin_server.bundle import ModelBundle
from slidekin_server.config import Limits
from slidekin_server.encoding import EncoderState, EncoderStatus

_STATES = {
    EncoderState.STARTING: admin_pb2.ENCODER_STATE_STARTING,
    EncoderState.READY: admin_pb2.ENCODER_STATE_READY,
    EncoderState.UNAVAILABLE: admin_pb2.ENCODER_STATE_UNAVAILABLE,
    EncoderState.CANARY_MISMATCH: admin_pb2.ENCODER_STATE_CANARY_MISMATCH,
}


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """What administrators ask.

    Args:
        archive: What is held.
        limits: What a client must keep within.
        version: Version of the service.
        bundle: The model that is served; None where none is.
        encoder_status: Gives the encoders' state; not asked without a model.
    """

    def __init__(
        self,
        archive: Archive,
        limits: Limits,
        *,
        version: str,
        bundle: ModelBundle | None,
        encoder_status: Callable[[], EncoderStatus] | None,
    ) -> None:
        self._archive = archive
        self._limits = limits
        self._version = version
        self._bundle = bundle
        self._encoder_status = encoder_status
        self._started = datetime.now(UTC)

    async def GetStatus(  # noqa: N802
        self,
        request: admin_pb2.GetStatusRequest,  # noqa: ARG002
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> admin_pb2.GetStatusResponse:
        """Return what is served, in which state, and within which limits."""
        limits = self._limits
        loaded = self._archive.loaded
        views = self._archive.views() if loaded else []
        response = admin_pb2.GetStatusResponse(
            version=self._version,
            start_time=messages.timestamp(self._started),
            index_loaded=loaded,
            encoder_state=admin_pb2.ENCODER_STATE_ABSENT,
            limits=admin_pb2.Limits(
                max_message_bytes=limits.max_message_bytes,
                max_image_bytes=limits.max_image_bytes,
                max_image_pixels=limits.max_image_pixels,
                max_thumbnail_bytes=limits.max_thumbnail_bytes,
                max_patches_per_slide=limits.max_patches_per_slide,
                max_k=limits.max_k,
                max_hits_per_patch=limits.max_hits_per_patch,
            ),
            collection_count=len(views),
            slide_count=sum(len(view.facts) for view in views),
            patch_count=sum(view.facts.patch_count for view in views),
        )
        if self._encoder_status is not None:
            status = self._encoder_status()
            response.encoder_state = _STATES[status.state]
            response.encoder_message = status.message
        if self._bundle is not None:
            response.model.CopyFrom(_model(self._bundle))
        return response


def _model(bundle: ModelBundle) -> admin_pb2.Model:
    return admin_pb2.Model(
        fingerprint=bundle.fingerprint,
        texture_bits=bundle.texture_bits,
        hamming_threshold_bits=bundle.hamming_threshold_bits,
        random_weights=bundle.random_weights,
        networks=[
            admin_pb2.Network(
                role=network.role,
                name=network.name,
                architecture=network.architecture,
                source=network.source,
                licence=network.licence,
                random_weights=network.random_weights,
            )
            for network in bundle.networks
        ],
    )
