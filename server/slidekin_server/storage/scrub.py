"""Overwrites the unused parts of database pages.

With ``secure_delete`` SQLite overwrites what is deleted where it lies. When it moves rows from page
to page, though, it leaves the old copies in the gap between a page's row pointers and its rows,
where no later deletion finds them. Nothing in a gap means anything to SQLite, so that it may be
overwritten beneath it: when the log is empty, under the lock of writers, and with no page of it in
a writer's cache afterwards. The layout is that of
https://www.sqlite.org/fileformat2.html#b_tree_pages.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

_B_TREE_HEADERS = {2: 12, 5: 12, 10: 8, 13: 8}
"""Bytes before the row pointers, by a page's first byte. Other pages begin with a page number,
whose first byte is smaller than these while there are fewer than `_MOST_PAGES`."""
_MOST_PAGES = 2 * 2**24
_PAGES_A_STEP = 4096
_LOG_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24


class Scrubber:
    """Knows which pages of a database may hold remains, and overwrites them.

    Args:
        database: The file. It is held open: to close any descriptor of a file drops the locks that
            the process, and that is SQLite, has on it.
        page_bytes: Size of its pages.
    """

    def __init__(self, database: Path, page_bytes: int) -> None:
        self._log = database.with_name(f"{database.name}-wal")
        self._page_bytes = page_bytes
        self._descriptor = os.open(database, os.O_RDWR)
        self._suspect: set[int] | None = None
        """Page numbers from 0; None: all pages."""

    def note_log(self) -> None:
        """Remember the pages in the log. To be called before any of it is written back.

        Raises:
            OSError: It cannot be read.
        """
        if self._suspect is None:
            return
        frame_bytes = _FRAME_HEADER_BYTES + self._page_bytes
        log = np.memmap(self._log, np.uint8, "r") if self._log.stat().st_size else np.empty(0, "u1")
        frames = max(0, len(log) - _LOG_HEADER_BYTES) // frame_bytes
        starts = _LOG_HEADER_BYTES + frame_bytes * np.arange(frames)
        numbers = log[starts[:, None] + np.arange(4)].reshape(-1).view(">u4")
        self._suspect.update((np.unique(numbers).astype(np.int64) - 1).tolist())

    def scrub(self) -> None:
        """Overwrite the gaps of the pages that may hold something.

        Raises:
            OSError: A page cannot be read or written.
        """
        count = os.fstat(self._descriptor).st_size // self._page_bytes
        if count >= _MOST_PAGES:
            return
        if self._suspect is None:
            changed = [
                self._scrub(first, _PAGES_A_STEP) for first in range(0, count, _PAGES_A_STEP)
            ]
        else:
            changed = [self._scrub(page, 1) for page in sorted(self._suspect) if 0 <= page < count]
        if any(changed):
            os.fsync(self._descriptor)
        self._suspect = set()

    def close(self) -> None:
        """Let go of the file. To be called when SQLite has."""
        os.close(self._descriptor)

    def _scrub(self, first: int, count: int) -> bool:
        size = self._page_bytes
        raw = os.pread(self._descriptor, count * size, first * size)
        pages = np.frombuffer(raw, np.uint8).reshape(-1, size)
        changed = False
        for kind, header in _B_TREE_HEADERS.items():
            for index in np.flatnonzero(pages[:, 0] == kind):
                page = pages[index]
                start = header + 2 * int.from_bytes(page[3:5].tobytes(), "big")
                # 0 stands for 65536, which only a page of that size can mean.
                end = int.from_bytes(page[5:7].tobytes(), "big") or 65536
                if start < end <= size and page[start:end].any():
                    place = (first + int(index)) * size + start
                    os.pwrite(self._descriptor, bytes(end - start), place)
                    changed = True
        return changed
