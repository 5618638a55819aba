"""What came of a target, and the files that bring a finding back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_GROWTH_MIB = 48.0
"""More than that over a run is a leak; less, the allocator's."""


@dataclass(frozen=True)
class Finding:
    """Something that should not be, and how to see it again."""

    target: str
    what: str
    calls: Sequence[Mapping[str, Any]] = ()
    """To a service, the last of which showed it."""
    data: bytes = b""
    """For a reader."""

    @property
    def kind(self) -> str:
        """``hang``, ``crash``, or another fault."""
        for kind in ("hang", "crash"):
            if f"{kind}:" in self.what:
                return kind
        return "fault"

    def save(self, folder: Path) -> Path:
        """Write the file that ``make fuzz REPLAY=`` takes."""
        place = folder / self.target
        place.mkdir(parents=True, exist_ok=True)
        if self.calls:
            text = json.dumps({"what": self.what, "calls": list(self.calls)}, indent=1)
            content = text.encode()
        else:
            content = self.data
        file = (
            place / f"{hashlib.sha256(content).hexdigest()[:12]}{'.json' if self.calls else '.bin'}"
        )
        file.write_bytes(content)
        return file


@dataclass(frozen=True)
class Result:
    """What came of one target."""

    target: str
    seed: int
    inputs: int
    seconds: float
    memory_growth_mib: float | None
    """None: not measured."""
    depth: str
    """How far the inputs went into it."""
    findings: Sequence[Finding] = field(default=())

    @property
    def leaks(self) -> bool:
        """Whether its memory grew."""
        return (self.memory_growth_mib or 0.0) > MAX_GROWTH_MIB

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings and not self.leaks

    def count(self, kind: str) -> int:
        """Findings of a kind."""
        return sum(finding.kind == kind for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """As a line of a run."""
        return {
            "target": self.target,
            "seed": self.seed,
            "inputs": self.inputs,
            "seconds": self.seconds,
            "crashes": self.count("crash"),
            "hangs": self.count("hang"),
            "faults": self.count("fault"),
            "memory_growth_mib": self.memory_growth_mib,
            "depth": self.depth,
        }
