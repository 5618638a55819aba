"""Triton in a container: write the model repository, then become the server.

The container ends when the server ends; only the container runtime watches it. NVIDIA's image has
the server in a folder; if no folder is named, the server from the wheel is used.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer
from bundles import BundleFacts
from embedded import environment, find_wheel, lay_out_backend, require_shared_memory
from guard import SHM, remove_shared_memory, shared_memory_prefix
from launch_errors import LaunchError
from repository import RepositoryOptions, render_repository
from server_command import ServerFiles, server_command

from ports import Ports

_HEALTH_TIMEOUT_S = 5


def become_server(
    bundles: Sequence[BundleFacts],
    options: RepositoryOptions,
    *,
    server: Path | None,
    work: Path,
    host: str,
    ports: Ports,
    response_cache_mib: int,
    max_connection_age_s: int,
    trace_url: str,
) -> NoReturn:
    """Write the model repository and replace this process by the server.

    Args:
        bundles: The bundles to serve.
        options: The machine's options for the repository.
        server: Folder of the server, such as ``/opt/tritonserver``; None: that of the wheel.
        work: Writable folder for the repository.
        host: Address on which the server listens.
        ports: Its ports.
        response_cache_mib: Cache of the networks' answers; 0: none.
        max_connection_age_s: Age at which callers must reconnect; 0: never.
        trace_url: Collector of traces; empty: none.

    Raises:
        LaunchError: There is no server, too little shared memory, or an option is unknown.
    """
    prefix = shared_memory_prefix(work)
    # A restarted container finds the shared memory of its pod as the last one left it.
    remove_shared_memory(prefix)
    require_shared_memory(SHM)
    if server is None:
        wheel = find_wheel()
        files, variables = lay_out_backend(wheel, work / "backends"), environment(wheel)
    else:
        files, variables = _files_in(server), environment(None)
    repository = work / "model_repository"
    served = render_repository(bundles, repository, options)
    for bundle in bundles:
        said = ", ".join(
            f"{network} by {chosen.runtime} in {chosen.precision}"
            for network, chosen in served[bundle.fingerprint].items()
        )
        typer.echo(f"{bundle.directory.name}: {said}")
    arguments = server_command(
        files,
        repository=repository,
        host=host,
        ports=ports,
        shm_prefix=prefix,
        response_cache_mib=response_cache_mib,
        gpu=options.device == "gpu",
        max_connection_age_s=max_connection_age_s,
        trace_url=trace_url,
    )
    os.execve(files.tritonserver, arguments, variables)  # noqa: S606 (no shell is wanted)


def require_ready(http_port: int) -> None:
    """Ask the server on this machine whether all of its models are ready.

    Raises:
        LaunchError: A model is not ready, or the server does not answer.
    """
    url = f"http://127.0.0.1:{http_port}/v2/health/ready"
    try:
        with urllib.request.urlopen(url, timeout=_HEALTH_TIMEOUT_S):
            return
    except (urllib.error.URLError, OSError) as error:
        msg = f"Triton is not ready at {url}: {error}"
        raise LaunchError(msg) from error


def _files_in(server: Path) -> ServerFiles:
    files = ServerFiles(server / "bin" / "tritonserver", server / "backends", server / "caches")
    for part in (files.tritonserver, files.backends / "python"):
        if not part.exists():
            msg = f"{server}: there is no {part.relative_to(server)}: name the folder of a Triton"
            raise LaunchError(msg)
    return files
