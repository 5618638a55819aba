"""Channels: what both clients set up alike."""

from __future__ import annotations

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
    # A service that was away is looked for again soon, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


def channel_options(tls: Tls | None) -> list[tuple[str, int | str]]:
    """Options of a channel."""
    options = list(CHANNEL_OPTIONS)
    if tls is not None and tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


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
