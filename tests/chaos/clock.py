"""A clock that can be made to jump under a running process.

libfaketime answers in the place of the C library when a process asks for the time of day; the
offset is in a file that it reads again and again. The monotonic clock stays as it is, as it does
when a time server steps a machine's clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

_LIBRARIES = Path("/usr/lib")
_READ_AGAIN_S = 1


def why_no_clock() -> str | None:
    """Why no clock can be made to jump here, or None where one can."""
    if _library() is None:
        return "libfaketime is missing: apt-get install faketime"
    return None


def _library() -> Path | None:
    return next(iter(_LIBRARIES.glob("*/faketime/libfaketime.so.1")), None)


class Clock:
    """The clock of the processes that are started with its environment."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(dt.timedelta())

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs to live by this clock."""
        library = _library()
        assert library is not None, why_no_clock()
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": str(_READ_AGAIN_S),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset: dt.timedelta) -> None:
        """Make it jump to so far from the true time; processes follow within a second."""
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{offset.total_seconds():+.0f}\n", encoding="ascii")
        draft.replace(self._file)
