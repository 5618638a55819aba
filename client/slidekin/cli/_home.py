"""Where the embedded stack keeps its state, and what it says of itself."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Process:
    """A process that was started, told apart from a later one of the same number."""

    pid: int
    """Its number."""
    started: int
    """When it started, in the kernel's ticks since boot."""

    def alive(self) -> bool:
        """It still runs."""
        return started_at(self.pid) == self.started


@dataclass(frozen=True, slots=True)
class Stack:
    """What `slidekin up` started."""

    triton: Process | None = None
    """Triton's launcher."""
    service: Process | None = None
    """The search service."""
    server: str = ""
    """Address of the service; empty while it starts."""
    metrics: str = ""
    """Where its metrics are read; empty while it starts."""
    fingerprint: str = ""
    """Models that are served; commas between."""

    def alive(self) -> bool:
        """All of it runs."""
        return all(
            process is not None and process.alive() for process in (self.triton, self.service)
        )


def default_home() -> Path:
    """``$SLIDEKIN_HOME``, else ``slidekin`` in the user's folder for state."""
    named = os.environ.get("SLIDEKIN_HOME")
    if named:
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "slidekin"


def read_stack(home: Path) -> Stack | None:
    """What was started from this home; None where nothing was, or nothing of ours can be read."""
    try:
        content = json.loads((home / "stack.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
        return None
    for name in ("triton", "service"):
        if content.get(name) is not None:
            content[name] = Process(**content[name])
    return Stack(**content)


def write_stack(home: Path, stack: Stack | None) -> None:
    """Writes it in one step; None: nothing runs any more."""
    file = home / "stack.json"
    if stack is None:
        file.unlink(missing_ok=True)
        return
    draft = file.with_suffix(".tmp")
    content = {"schema": SCHEMA, **dataclasses.asdict(stack)}
    draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    draft.replace(file)


def started_at(pid: int) -> int | None:
    """When a process started, in the kernel's ticks since boot; None where it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # The name, in parentheses, may hold anything: fields are counted after it.
    state, *fields = stat.rpartition(")")[2].split()
    # A zombie has ended; whether anyone asks for its exit code is not our business.
    return None if state in {"Z", "X"} else int(fields[18])
