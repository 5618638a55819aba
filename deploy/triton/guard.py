"""Clears a server's processes and shared memory, so that they do not outlive the launcher."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sys
import time
from pathlib import Path

SHM = Path("/dev/shm")  # noqa: S108 (where the backend keeps its regions)
_LONGEST_DEATH_S = 10.0
_LOOK_AGAIN_S = 0.02


class Guard:
    """A small process that outlives the launcher by a moment.

    It waits on a pipe. A launcher that ends normally dismisses it. If the launcher is killed, the
    pipe closes without a message, and the guard ends the server and clears its shared memory.
    """

    def __init__(self, group: int, shm_prefix: str) -> None:
        watched, self._pipe = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._pipe)
            self._watch(watched, group, shm_prefix)
        os.close(watched)

    @staticmethod
    def _watch(watched: int, group: int, shm_prefix: str) -> None:
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for standard in range(3):
                os.dup2(nowhere, standard)
            if not os.read(watched, 1):
                kill_group(group)
                remove_shared_memory(shm_prefix)
        finally:
            os._exit(0)

    def dismiss(self) -> None:
        """Tell the guard that everything is cleared, and wait for its end."""
        os.write(self._pipe, b".")
        os.close(self._pipe)
        os.waitpid(self._pid, 0)


def kill_group(group: int) -> None:
    """Kill every process of a group, and return when all have ended.

    A process with much memory takes a moment to release it, during which it still runs.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    deadline = time.monotonic() + _LONGEST_DEATH_S
    while _alive(group) and time.monotonic() < deadline:
        time.sleep(_LOOK_AGAIN_S)


def _alive(group: int) -> bool:
    """Whether a process of the group runs; a zombie does not."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may contain anything: parse only what comes after it.
            state, _, own_group, *_ = file.read_text().rpartition(")")[2].split()
            if int(own_group) == group and state not in "ZX":
                return True
    return False


def shared_memory_prefix(folder: Path) -> str:
    """Return the beginning of the names of a server's regions.

    It is the same for every start in this folder, so that each start can clear what a killed one
    left.
    """
    return f"slidekin-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}-"


def remove_shared_memory(prefix: str) -> None:
    """Remove the regions whose names begin with this prefix."""
    for region in SHM.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
