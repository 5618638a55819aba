"""How the Triton server is called, wherever it comes from, and what of it stays closed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from tracing import trace_arguments

from ports import Ports

_CLOSED = "shared-memory,model-repository,trace,logging"
_CONNECTION_GRACE_S = 120
"""For calls in progress when a connection's age is over: longer than the service waits for one."""


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """Where the server and its parts lie."""

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
    """The server's command line.

    Shared-memory registration, the repository's control, tracing and logging settings ask for a
    header that nobody is told.

    Args:
        files: The server.
        repository: What it serves.
        host: Address on which it answers.
        ports: Where on it.
        shm_prefix: Of the names of its regions in shared memory.
        response_cache_mib: Cache of the networks' answers; 0: none.
        gpu: Whether there is a GPU whose metrics can be told.
        max_connection_age_s: When callers must connect anew, and so find servers that came since;
            0: never.
        trace_url: Collector of traces; empty: none.
    """
    closed = f"{_CLOSED}:slidekin-closed={secrets.token_hex(16)}"
    arguments = [
        str(files.tritonserver),
        f"--model-repository={repository}",
        f"--backend-directory={files.backends}",
        "--model-control-mode=none",
        # Everything is configured; completing would start each model's process twice.
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
