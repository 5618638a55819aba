"""Channels: what both clients set up alike."""

from __future__ import annotations

import json
import socket

import grpc

from slidekin._types import Tls

DEFAULT_TARGET = "127.0.0.1:50051"

CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    # The service states its limit (GetStatus) and keeps it both ways; the SDK measures what it
    # sends against that. A second limit here, 4 MiB unless said otherwise, would only cut answers.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Searches can be silent for minutes while networks work; the service allows one ping in 10 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Retries are ours: they know which calls may be repeated.
    ("grpc.enable_retries", 0),
    # Several replicas, by name or by list, are used in turns; one that is away is left out.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    # A service that was away is looked for again soon, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


def channel_options(target: str, tls: Tls | None) -> list[tuple[str, int | str]]:
    """Options of a channel to a target."""
    options = list(CHANNEL_OPTIONS)
    server_name = None if tls is None else tls.server_name
    if tls is not None and server_name is None and "," in target and not _has_scheme(target):
        # What is dialled are addresses; the certificates are made out to names.
        server_name = _host_and_port(target.split(",", maxsplit=1)[0])[0]
    if server_name is not None:
        options.append(("grpc.ssl_target_name_override", server_name))
    return options


def dialled(target: str) -> str:
    """What gRPC is to dial for a target: a list of replicas becomes one of their addresses.

    Raises:
        ValueError: One of a list cannot be read, or none can be looked up.
    """
    if "," not in target or _has_scheme(target):
        return target
    found: dict[int, list[str]] = {}
    missing = []
    for replica in target.split(","):
        host, port = _host_and_port(replica)
        try:
            looked_up = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            missing.append(f"{host} ({error.strerror})")
            continue
        for family, _, _, _, address in looked_up:
            shown = f"[{address[0]}]" if family is socket.AF_INET6 else str(address[0])
            found.setdefault(family, []).append(f"{shown}:{port}")
    for family, scheme in ((socket.AF_INET, "ipv4"), (socket.AF_INET6, "ipv6")):
        if family in found:  # gRPC takes addresses of one kind
            return f"{scheme}:{','.join(dict.fromkeys(found[family]))}"
    raise ValueError(f"none of the replicas can be looked up: {', '.join(missing)}")


def _has_scheme(target: str) -> bool:
    return target.partition(":")[0] in {"dns", "ipv4", "ipv6", "unix", "unix-abstract", "xds"}


def _host_and_port(replica: str) -> tuple[str, int]:
    host, _, port = replica.strip().rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{replica!r} is no replica: write host:port,host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def credentials(tls: Tls) -> grpc.ChannelCredentials:
    """Reads the certificates.

    Raises:
        ValueError: Only one of certificate and key is given.
        OSError: A file cannot be read.
    """
    if (tls.certificate_file is None) != (tls.key_file is None):
        raise ValueError("a client certificate needs its key: give certificate_file and key_file")
    return grpc.ssl_channel_credentials(
        root_certificates=tls.ca_file.read_bytes() if tls.ca_file else None,
        private_key=tls.key_file.read_bytes() if tls.key_file else None,
        certificate_chain=tls.certificate_file.read_bytes() if tls.certificate_file else None,
    )
