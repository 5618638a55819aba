"""The benchmark of the index: ``make bench-index SIZES="100000 1000000 10000000"``.

Each part runs in a process of its own, so that memory is that part's alone. Every figure is one
line of JSON on standard output; ``--out`` keeps the lines in a file, from which
``python -m tests.bench.report`` makes docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TextIO

from tests.bench.lines import describe_machine
from tests.bench.processes import pass_on, run_part

PARTS = ("engine", "rivals", "recall", "service", "slide")
"""``service`` runs with the greatest size only, ``slide`` (bench-slide) once."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="100000 1000000 10000000", help="patches")
    parser.add_argument("--parts", default=" ".join(PARTS), help="which parts to run")
    parser.add_argument("--out", type=Path, help="keep the lines here too")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = sorted(int(size) for size in options.sizes.split())
    if options.part:
        measure(options.part, sizes[0])
        return
    begin = time.monotonic()
    with (options.out or Path("/dev/null")).open("w", encoding="utf-8") as out:
        pass_on(json.dumps({"machine": describe_machine(), "sizes": sizes}), out)
        for part in options.parts.split():
            for size in sizes if part in {"engine", "rivals", "recall"} else sizes[-1:]:
                run(part, size, out)
        minutes = round((time.monotonic() - begin) / 60, 1)
        pass_on(json.dumps({"finished": True, "minutes": minutes}), out)


def run(part: str, patches: int, out: TextIO) -> None:
    """Run one part in a process of its own and pass its lines on."""
    if part == "slide":
        arguments = ["tests.bench.bench_slide"]
    else:
        arguments = ["tests.bench.bench_index", "--part", part, "--sizes", str(patches)]
    run_part(f"bench-index: {part}, {patches} patches", arguments, out)


def measure(part: str, patches: int) -> None:
    # Each part imports only what it measures: memory is counted by process.
    if part == "engine":
        from tests.bench.engine_figures import measure as measured  # noqa: PLC0415
    elif part == "rivals":
        from tests.bench.rival_figures import measure as measured  # noqa: PLC0415
    elif part == "recall":
        from tests.bench.recall_figures import measure as measured  # noqa: PLC0415
    else:
        from tests.bench.service_figures import measure as measured  # noqa: PLC0415
    measured(patches)


if __name__ == "__main__":
    main()
