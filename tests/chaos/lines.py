"""A run as JSON lines: the machine, each fault, each second, the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.chaos.run import Outcome


def write_lines(file: Path, outcome: Outcome, *, seed: int, machine: Mapping[str, Any]) -> None:
    """Write all of a run, and what it was made on, to a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as stream:
        for line in _lines(outcome, seed, machine):
            stream.write(json.dumps(line) + "\n")


def _lines(outcome: Outcome, seed: int, machine: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"line": "run", "seed": seed, **machine}
    for fault in outcome.happened:
        rounded = {
            name: round(value, 2) if isinstance(value, float) else value
            for name, value in asdict(fault).items()
        }
        rounded["recovery_s"] = {
            shown: took_s if took_s is None else round(took_s, 2)
            for shown, took_s in fault.recovery_s.items()
        }
        yield {"line": "fault", **rounded}
    ended: dict[int, Counter[str]] = {}
    for record in outcome.records:
        second = int(record.end_s - outcome.began_s)
        ended.setdefault(second, Counter())[record.kind if record.answered else "failed"] += 1
    for second in range(max(ended, default=-1) + 1):
        yield {"line": "second", "second": second, **ended.get(second, {})}
    yield {
        "line": "end",
        "seconds": round(outcome.seconds),
        "calls": len(outcome.records),
        "failed": sum(not record.answered for record in outcome.records),
        "slides": outcome.slides_at_the_end,
        "patches": outcome.patches_at_the_end,
        "left_out": outcome.left_out,
        "violations": outcome.violations,
    }
