"""The gRPC server: servicers, interceptors, health, reflection and channel options put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from slidekin.v1 import (
    admin_pb2_grpc,
    collections_pb2_grpc,
    search_pb2_grpc,
    slides_pb2_grpc,
)
from slidekin_server.access.audit import AuditLog
from slidekin_server.api import permissions
from slidekin_server.api.admin import AdminServicer
from slidekin_server.api.collections import CollectionServicer
from slidekin_server.api.interceptors.access import AccessLayer, Identifies
from slidekin_server.api.interceptors.admission import Admission
from slidekin_server.api.interceptors.audit import AuditGuard, AuditRecorder
from slidekin_server.api.interceptors.errors import ErrorMapper
from slidekin_server.api.interceptors.layers import CallLayers, Layer
from slidekin_server.api.interceptors.observer import CallObserver
from slidekin_server.api.interceptors.tracer import CallTracer
from slidekin_server.api.options import OptionsReader
from slidekin_server.api.patience import Patience
from slidekin_server.api.readiness import Readiness
from slidekin_server.api.search import SearchServicer
from slidekin_server.api.slides import SlideServicer
from slidekin_server.archive.archive import Archive
from slidekin_server.archive.backup import Backup
from slidekin_server.archive.ingest import SlideIngest
from slidekin_server.archive.options import Profile
from slidekin_server.archive.reindex import Reindexer
from slidekin_server.archive.search import Searcher
from slidekin_server.archive.served import ServedModels
from slidekin_server.archive.workers import Workers
from slidekin_server.config import Limits, Listen
from slidekin_server.telemetry import Metrics, StartSpan

SERVICES = tuple(service.full_name for service in permissions.SERVICES)
"""Full names of the contract's services."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the servicers call."""

    admission: Admission
    patience: Patience
    archive: Archive
    backup: Backup
    ingest: SlideIngest
    reindexer: Reindexer
    searcher: Searcher
    workers: Workers
    metrics: Metrics
    start_span: StartSpan
    readiness: Readiness
    limits: Limits
    profiles: Mapping[str, Profile]
    version: str
    models: ServedModels
    identifies: Identifies
    audit: AuditLog | None


def build_server(parts: Parts, connections: Listen, *, reflected: bool) -> aio.Server:
    """Return a server that listens nowhere yet.

    Args:
        parts: What the servicers call.
        connections: How old connections grow.
        reflected: Offer server reflection.
    """
    limits, models, patience = parts.limits, parts.models, parts.patience
    layers: list[Layer] = [
        CallObserver(parts.metrics),
        CallTracer(parts.start_span),
        AuditRecorder(parts.audit),
        ErrorMapper(),
        AuditGuard(parts.audit),
        AccessLayer(parts.identifies),
        parts.admission,
    ]
    server = aio.server(
        interceptors=[CallLayers(layers, patience)],
        options=[
            ("grpc.max_receive_message_length", limits.max_message_bytes),
            # A token with its holder's groups may exceed the usual 8 KiB.
            ("grpc.max_metadata_size", 20 * 1024),
            ("grpc.max_send_message_length", limits.max_message_bytes),
            # Without these two a stream buffers about 4 MiB ahead of its reader.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", 256 * 1024),
            # Clients ping every 30 s, also between calls.
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.max_connection_age_ms", round(connections.max_connection_age_s * 1000)),
            (
                "grpc.max_connection_age_grace_ms",
                round(connections.max_connection_age_grace_s * 1000),
            ),
            # A second service on the same port would take half of the calls, silently.
            ("grpc.so_reuseport", 0),
        ],
    )
    options = OptionsReader(parts.profiles, limits)
    collections_pb2_grpc.add_CollectionServiceServicer_to_server(
        CollectionServicer(parts.archive, parts.reindexer, parts.workers, models), server
    )
    slides_pb2_grpc.add_SlideServiceServicer_to_server(
        SlideServicer(
            parts.archive,
            parts.ingest,
            parts.reindexer,
            parts.workers,
            parts.metrics,
            limits=limits,
            options=options,
            models=models,
        ),
        server,
    )
    search_pb2_grpc.add_SearchServiceServicer_to_server(
        SearchServicer(
            parts.archive,
            parts.searcher,
            parts.workers,
            parts.metrics,
            limits=limits,
            options=options,
            patience=patience,
            models=models,
        ),
        server,
    )
    admin_pb2_grpc.add_AdminServiceServicer_to_server(
        AdminServicer(
            parts.archive,
            parts.backup,
            parts.workers,
            limits,
            version=parts.version,
            models=models,
        ),
        server,
    )
    health_pb2_grpc.add_HealthServicer_to_server(parts.readiness.servicer, server)
    if reflected:
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
    return server


class ListenError(OSError):
    """Nothing can listen at the configured address."""


def listen(
    server: aio.Server, *, host: str, port: int, credentials: grpc.ServerCredentials | None = None
) -> int:
    """Bind a server and return its port.

    Args:
        server: The server, not started.
        host: Address to listen on.
        port: TCP port; 0: a free one.
        credentials: Encrypt with these; None: do not encrypt.

    Raises:
        ListenError: The address cannot be had, for example since the port is taken.
    """
    shown = f"[{host}]" if ":" in host else host
    try:
        if credentials is None:
            bound = server.add_insecure_port(f"{shown}:{port}")
        else:
            bound = server.add_secure_port(f"{shown}:{port}", credentials)
    except RuntimeError:
        bound = 0
    if not bound:
        raise ListenError(
            f"cannot listen at {shown}:{port}: change listen.host or listen.port, or free the port"
        )
    return bound
