"""``python -m tests.fuzz.report RUN``: a run's lines as the table in docs/reliability.md."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tests.bench.page import fill_parts, table
from tests.fuzz.descriptions import DESCRIPTIONS
from tests.paths import PROJECT

DOCUMENT = PROJECT / "docs" / "reliability.md"
_HEAD = ["target", "what is read", "inputs", "seconds", "crashes", "hangs", "other faults",
         "memory, MiB", "depth"]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    text = parser.parse_args().run.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    facts, results = lines[0], lines[1:]
    rows = [
        [
            f"`{one['target']}`",
            DESCRIPTIONS[one["target"]],
            f"{one['inputs']:,}",
            f"{one['seconds']:.0f}",
            str(one["crashes"]),
            str(one["hangs"]),
            str(one["faults"]),
            "not measured" if (grown := one["memory_growth_mib"]) is None else f"{grown:+.1f}",
            one["depth"],
        ]
        for one in results
    ]
    made = sum(one["inputs"] for one in results)
    words = (
        f"{facts['run']}, seed {facts['seed']}, {facts['cores']} cores: {made:,} inputs in "
        f"{len(results)} targets.\n\n"
    )
    fill_parts(DOCUMENT, {"fuzzing": words + table(_HEAD, rows)})


if __name__ == "__main__":
    main()
