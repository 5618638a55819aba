"""Networks of a run: clients here, the service in a namespace of its own, a cable between them.

A run enters namespaces of its own first (`enter`). When its processes end, the kernel takes
networks and mounts away, however they ended: nothing is left on the machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence

CLIENT_ADDRESS = "10.77.0.1"
SERVICE_ADDRESS = "10.77.0.2"
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Runs a command, when put before it, that ends with this process even while it is frozen."""
_PREFIX_LENGTH = 30
_CLIENT_SIDE, _SERVICE_SIDE = "chaos-client", "chaos-service"
_DEBIAN_PACKAGES = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
    "ip": "iproute2",
}


def why_no_namespaces() -> str | None:
    """Why a run cannot have networks of its own here, or None where it can."""
    missing = sorted({
        package for tool, package in _DEBIAN_PACKAGES.items() if shutil.which(tool) is None
    })  # fmt: skip
    if missing:
        return f"Debian packages are missing: apt-get install {' '.join(missing)}"
    tried = subprocess.run([*_unshare(), "true"], check=False, capture_output=True, text=True)
    if tried.returncode:
        return (
            "no networks and mounts of one's own can be made here, which takes root or "
            f"unprivileged user namespaces: {tried.stderr.strip()}"
        )
    return None


def inside(command: Sequence[str]) -> list[str]:
    """A command, run in namespaces of its own."""
    return [*_unshare(), *command]


def _unshare() -> list[str]:
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *rights, "--net", "--mount"]


class Cable:
    """The network between clients and service, which can be cut. Made by `plugged_in`."""

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        self._holder = holder

    @property
    def service_side(self) -> list[str]:
        """Runs a command on the service's side, when put before it."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]

    def pull(self) -> None:
        """Unplug it here: the client's machine knows at once."""
        _ip("link", "set", _CLIENT_SIDE, "down")

    def break_far_away(self) -> None:
        """Unplug it there: what is sent from here vanishes, and nobody says so."""
        _run([*self.service_side, "ip", "link", "set", _SERVICE_SIDE, "down"])

    def break_loopback(self) -> None:
        """Cut what runs on the service's side off from each other."""
        _run([*self.service_side, "ip", "link", "set", "lo", "down"])

    def mend(self) -> None:
        """Plug everything in."""
        _run([*self.service_side, "ip", "link", "set", "lo", "up"])
        _run([*self.service_side, "ip", "link", "set", _SERVICE_SIDE, "up"])
        _ip("link", "set", _CLIENT_SIDE, "up")


@contextlib.contextmanager
def plugged_in() -> Iterator[Cable]:
    """A namespace for the service and a cable to it, while the context lasts."""
    # It ends with its standard input, and so with this process.
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo made; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == b"made\n"
            cable = Cable(holder)
            _ip("link", "set", "lo", "up")
            _ip(
                *("link", "add", _CLIENT_SIDE, "type", "veth"),
                *("peer", "name", _SERVICE_SIDE, "netns", str(holder.pid)),
            )
            _ip("address", "add", f"{CLIENT_ADDRESS}/{_PREFIX_LENGTH}", "dev", _CLIENT_SIDE)
            there = f"{SERVICE_ADDRESS}/{_PREFIX_LENGTH}"
            _run([*cable.service_side, "ip", "address", "add", there, "dev", _SERVICE_SIDE])
            cable.mend()
            yield cable
        finally:
            holder.stdin.close()
            holder.wait(30)


def _ip(*arguments: str) -> None:
    _run(["ip", *arguments])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}")
