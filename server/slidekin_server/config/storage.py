"""Where slides are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from slidekin_server.config.section import Section


class Storage(Section):
    """Where slides are kept."""

    path: Path = Path("slidekin-data")
    snapshots: Path | None = None
    synchronous: Literal["full", "normal"] = "full"

    @property
    def snapshots_path(self) -> Path:
        """``snapshots``, or a folder beside the store that shares its name."""
        return self.snapshots or self.path.with_name(f"{self.path.name}-snapshots")
