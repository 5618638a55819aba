"""AdminService."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from grpc.aio import ServicerContext

from slidekin.v1 import admin_pb2, admin_pb2_grpc
from slidekin_server.access.roles import may_read
from slidekin_server.api import messages
from slidekin_server.api.validation import refuse
from slidekin_server.archive.archive import Archive
from slidekin_server.archive.backup import Backup
from slidekin_server.archive.names import parse_snapshot_name, slide_name, snapshot_name
from slidekin_server.archive.served import ServedModel, ServedModels
from slidekin_server.archive.workers import Workers
from slidekin_server.config import Limits
from slidekin_server.encoding import EncoderState, NetworkRuntime
from slidekin_server.storage import DamagedSnapshotError, NewerSchemaError, Snapshot

_STATES = {
    EncoderState.STARTING: admin_pb2.ENCODER_STATE_STARTING,
    EncoderState.READY: admin_pb2.ENCODER_STATE_READY,
    EncoderState.UNAVAILABLE: admin_pb2.ENCODER_STATE_UNAVAILABLE,
    EncoderState.CANARY_MISMATCH: admin_pb2.ENCODER_STATE_CANARY_MISMATCH,
}
_MAX_DAMAGED = 100
"""Named in one answer."""


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """What administrators ask.

    Args:
        archive: What is held.
        backup: Its snapshots.
        workers: Where they are made and read.
        limits: What a client must keep within.
        version: Version of the service.
        models: What is served.
    """

    def __init__(
        self,
        archive: Archive,
        backup: Backup,
        workers: Workers,
        limits: Limits,
        *,
        version: str,
        models: ServedModels,
    ) -> None:
        self._archive = archive
        self._backup = backup
        self._workers = workers
        self._limits = limits
        self._version = version
        self._models = models
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
        views = [view for view in views if may_read(view.collection.name)]
        damaged = [
            slide_name(view.collection.name, slide) for view in views for slide in view.damaged
        ]
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
            damaged_slide_count=len(damaged),
            damaged_slides=damaged[:_MAX_DAMAGED],
        )
        response.models.extend(
            _served(model, active=number == 0) for number, model in enumerate(self._models.all())
        )
        for active in response.models[:1]:
            response.model.CopyFrom(active.model)
            response.encoder_state = active.encoder_state
            response.encoder_message = active.encoder_message
        return response

    async def CreateSnapshot(  # noqa: N802
        self,
        request: admin_pb2.CreateSnapshotRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> admin_pb2.CreateSnapshotResponse:
        """Copy the store while it is in use."""
        if request.keep_count < 0:
            raise refuse("keep_count", "must not be negative; 0 keeps all snapshots")
        made, removed = await self._workers.copy(self._backup.create, request.keep_count)
        return admin_pb2.CreateSnapshotResponse(
            snapshot=_snapshot(made), removed_snapshots=map(snapshot_name, removed)
        )

    async def ListSnapshots(  # noqa: N802
        self,
        request: admin_pb2.ListSnapshotsRequest,  # noqa: ARG002
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> admin_pb2.ListSnapshotsResponse:
        """Return what snapshots there are."""
        found = await self._workers.read(self._listed)
        return admin_pb2.ListSnapshotsResponse(snapshots=found)

    async def CheckSnapshot(  # noqa: N802
        self,
        request: admin_pb2.CheckSnapshotRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> admin_pb2.CheckSnapshotResponse:
        """Look at every byte of a snapshot."""
        try:
            name = parse_snapshot_name(request.name)
        except ValueError as error:
            raise refuse("name", str(error), reason="INVALID_NAME") from None
        checked = await self._workers.copy(self._backup.snapshots.check, name)
        return admin_pb2.CheckSnapshotResponse(snapshot=_snapshot(checked))

    def _listed(self) -> list[admin_pb2.Snapshot]:
        listed = []
        for name in self._backup.snapshots.names():
            try:
                listed.append(_snapshot(self._backup.snapshots.read(name)))
            except (DamagedSnapshotError, NewerSchemaError) as error:
                listed.append(admin_pb2.Snapshot(name=snapshot_name(name), problem=str(error)))
        return listed


def _snapshot(snapshot: Snapshot) -> admin_pb2.Snapshot:
    return admin_pb2.Snapshot(
        name=snapshot_name(snapshot.name),
        create_time=messages.timestamp(snapshot.create_time),
        sequence=snapshot.sequence,
        size_bytes=snapshot.size_bytes,
        sha256=snapshot.sha256,
        collection_count=snapshot.collection_count,
        slide_count=snapshot.slide_count,
        patch_count=snapshot.patch_count,
        damaged_slide_count=snapshot.damaged_slide_count,
    )


def _served(model: ServedModel, *, active: bool) -> admin_pb2.ServedModel:
    status = model.encoder.status
    return admin_pb2.ServedModel(
        model=_model(model),
        name=model.bundle.folder.name,
        active=active,
        encoder_state=_STATES[status.state],
        encoder_message=status.message,
    )


def _model(model: ServedModel) -> admin_pb2.Model:
    bundle = model.bundle
    runtimes = {network.role: network for network in model.encoder.runtimes}
    unknown = NetworkRuntime(role="", runtime="", precision="")
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
                runtime=runtimes.get(network.role, unknown).runtime,
                precision=runtimes.get(network.role, unknown).precision,
            )
            for network in bundle.networks
        ],
    )
