"""The calls about the service itself: its state, and snapshots of its store."""

from __future__ import annotations

from slidekin import _wire
from slidekin._calls.call import Call
from slidekin._names import snapshot_name
from slidekin._types import Snapshot, Status
from slidekin.v1 import admin_pb2


def get_status() -> Call[Status]:
    return Call("AdminService", "GetStatus", admin_pb2.GetStatusRequest(), _wire.to_status)


def create_snapshot(keep_count: int | None) -> Call[Snapshot]:
    def made(response: admin_pb2.CreateSnapshotResponse) -> Snapshot:
        return _wire.to_snapshot(response.snapshot)

    if keep_count is not None and keep_count < 1:
        raise ValueError(f"keep_count is {keep_count}: it must be 1 or more, or None to keep all")
    request = admin_pb2.CreateSnapshotRequest(keep_count=keep_count or 0)
    return Call("AdminService", "CreateSnapshot", request, made, repeatable=False, is_search=True)


def list_snapshots() -> Call[list[Snapshot]]:
    def listed(response: admin_pb2.ListSnapshotsResponse) -> list[Snapshot]:
        return [_wire.to_snapshot(entry) for entry in response.snapshots]

    return Call("AdminService", "ListSnapshots", admin_pb2.ListSnapshotsRequest(), listed)


def check_snapshot(snapshot: str) -> Call[Snapshot]:
    def checked(response: admin_pb2.CheckSnapshotResponse) -> Snapshot:
        return _wire.to_snapshot(response.snapshot)

    request = admin_pb2.CheckSnapshotRequest(name=snapshot_name(snapshot))
    return Call("AdminService", "CheckSnapshot", request, checked, is_search=True)
