"""The server's ports: checks named ports, and finds free ones."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass

from launch_errors import LaunchError

HOST = "127.0.0.1"
_PORT_RANGE = range(20000, 32000)
"""Below the system's range of ports for outgoing connections."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The server's ports, on the loopback address only."""

    grpc: int
    http: int
    metrics: int


def choose_ports(wanted: dict[str, int]) -> Ports:
    """Check the named ports, and find free ones for the others.

    Args:
        wanted: By option, in the order of `Ports`; 0: a free one.

    Raises:
        LaunchError: A named port is in use, or named twice.
    """
    named = [port for port in wanted.values() if port]
    if len(set(named)) < len(named):
        msg = f"the ports must differ: {', '.join(str(port) for port in wanted.values())}"
        raise LaunchError(msg)
    chosen: list[int] = []
    for option, port in wanted.items():
        if port and not _is_free(port):
            msg = f"{option}: port {port} is taken on {HOST}: name another, or 0 for a free one"
            raise LaunchError(msg)
        chosen.append(port or _free_port({*named, *chosen}))
    return Ports(*chosen)


def _free_port(taken: set[int]) -> int:
    for port in random.sample(_PORT_RANGE, 200):
        if port not in taken and _is_free(port):
            return port
    msg = f"no free port found on {HOST}: name one"
    raise LaunchError(msg)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
