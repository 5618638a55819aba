"""Everything that was asked and answered, line by line."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TextIO


class History:
    """One JSON object for each thing that happened, in order."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._stream: TextIO = file.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def note(self, event: str, **values: object) -> None:
        """Write one line."""
        with self._lock:
            self._stream.write(json.dumps({"event": event, **values}) + "\n")

    def close(self) -> None:
        """Have all of it in the file."""
        self._stream.close()
