"""An append-only file of lines that is rotated and never holds half a line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path


class RotatedFile:
    """Lines in ``path``; older ones in ``path.1`` (the newest of them), ``path.2`` ...

    It is opened anew for every write, so that others may move it away. Python's own rotating
    handler leaves half a line when the disk is full, and then appends to it.

    Args:
        path: The file; its folder must exist.
        max_bytes: Size at which a new file is begun.
        files: How many files are kept, including the current one.
    """

    def __init__(self, path: Path, *, max_bytes: int, files: int) -> None:
        self._path = path
        self.max_bytes = max_bytes
        self._files = files

    def append(self, lines: Sequence[bytes]) -> None:
        """Write and sync lines, all or none of them.

        Raises:
            OSError: They cannot be written.
        """
        data = b"".join(lines)
        descriptor = self._open()
        try:
            size = os.fstat(descriptor).st_size
            if size and size + len(data) > self.max_bytes:
                self._rotate()
                os.close(descriptor)
                descriptor = self._open()
                size = 0
            try:
                written = 0
                while written < len(data):
                    written += os.write(descriptor, data[written:])
                os.fdatasync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _rotate(self) -> None:
        if self._files == 1:
            self._path.unlink()
            return
        for number in range(self._files - 1, 0, -1):
            source = self._numbered(number - 1) if number > 1 else self._path
            with contextlib.suppress(FileNotFoundError):
                source.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
