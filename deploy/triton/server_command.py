"""The Triton server's command line, and which of its interfaces are closed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from tracing import trace_arguments

from ports import Ports

_CLOSED = "shared-memory,model-repository,trace,logging"
_CONNECTION_GRACE_S = 120
"""Time to end calls on a connection that is too old: longer than the service waits for a call."""


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """The paths of the server and its parts."""

    tritonserver: Path
    backends: Path
    caches: Path


def server_command(
    files: ServerFiles,
    *,
    repository: Path,
    host: str,
    ports: Ports,
    shm_prefix: str,
    response_cache_mib: int,
    gpu: bool,
    max_connection_age_s: int = 0,
    trace_url: str = "",
) -> list[str]:
    """Return the server's command line.

    Shared-memory registration, control of the repository, tracing and logging settings require a
    header that is told to nobody.

    Args:
        files: The server.
        repository: Folder of the model repository.
        host: Address on which it listens.
        ports: Its ports.
        shm_prefix: Beginning of the names of its regions in shared memory.
        response_cache_mib: Cache of the networks' answers; 0: none.
        gpu: Whether there is a GPU whose metrics can be reported.
        max_connection_age_s: Age at which callers must reconnect, and so find new servers; 0:
            never.
        trace_url: Collector of traces; empty: none.
    """
    closed = f"{_CLOSED}:slidekin-closed={secrets.token_hex(16)}"
    arguments = [
        str(files.tritonserver),
        f"--model-repository={repository}",
        f"--backend-directory={files.backends}",
        "--model-control-mode=none",
        # Everything is configured; auto-completion would start each model's process twice.
        "--disable-auto-complete-config",
        f"--grpc-address={host}",
        f"--grpc-port={ports.grpc}",
        f"--http-address={host}",
        f"--http-port={ports.http}",
        f"--metrics-address={host}",
        f"--metrics-port={ports.metrics}",
        f"--allow-gpu-metrics={str(gpu).lower()}",
        f"--grpc-restricted-protocol={closed}",
        f"--http-restricted-api={closed}",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        "--backend-config=python,stub-timeout-seconds=120",
        "--exit-timeout-secs=10",
    ]
    if response_cache_mib:
        arguments += [
            f"--cache-directory={files.caches}",
            f"--cache-config=local,size={response_cache_mib << 20}",
        ]
    if max_connection_age_s:
        arguments += [
            f"--grpc-max-connection-age={max_connection_age_s * 1000}",
            f"--grpc-max-connection-age-grace={_CONNECTION_GRACE_S * 1000}",
        ]
    return arguments + trace_arguments(trace_url)
