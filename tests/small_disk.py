"""A disk small enough to be filled: a tmpfs, which takes root (or a namespace of one's own)."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

_FILLER = "other"
_FILL_ATTEMPTS = 1000


@contextlib.contextmanager
def small_disk(folder: Path, *, size_mib: int) -> Iterator[None]:
    """A disk at a folder that is there, while the context lasts.

    Raises:
        subprocess.CalledProcessError, FileNotFoundError: It cannot be mounted here.
    """
    options = f"size={size_mib}m"
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "slidekin-test", str(folder)],
        check=True,
        capture_output=True,
        timeout=30,
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=30)


def fill(disk: Path, *, leave: int = 0) -> None:
    """Take all space but so many bytes."""
    with (disk / _FILLER).open("ab", buffering=0) as other:
        for _ in range(_FILL_ATTEMPTS):
            state = os.statvfs(disk)
            space = state.f_bavail * state.f_frsize
            try:
                os.posix_fallocate(
                    other.fileno(), 0, (disk / _FILLER).stat().st_size + space - leave
                )
            except OSError as error:
                # Whoever uses the disk took of the space meanwhile.
                if error.errno != errno.ENOSPC:
                    raise
            else:
                return
    raise TimeoutError(f"{disk} could not be filled: others took its space each time")


def free(disk: Path) -> None:
    """Give the space back."""
    (disk / _FILLER).unlink()
