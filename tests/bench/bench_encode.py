"""The benchmark of the road from client to networks: ``make bench-encode``.

Every figure is one line of JSON on standard output; ``--out`` keeps the lines in a file, from which
``python -m tests.bench.encode_report`` makes its part of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from tests.bench.lines import describe_machine
from tests.bench.processes import pass_on, run_part

PARTS = ("runtimes", "road")
"""Processes of their own, in this order: torch and OpenVINO keep their threads to themselves."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="keep the lines here too")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        measure(options.part, options.folder)
        return
    begin = time.monotonic()
    with (
        (options.out or Path("/dev/null")).open("w", encoding="utf-8") as out,
        tempfile.TemporaryDirectory(prefix="slidekin-bench-") as folder,
    ):
        pass_on(json.dumps({"machine": describe_machine()}), out)
        for part in PARTS:
            arguments = ["tests.bench.bench_encode", "--part", part, "--folder", folder]
            run_part(f"bench-encode: {part}", arguments, out)
        minutes = round((time.monotonic() - begin) / 60, 1)
        pass_on(json.dumps({"finished": True, "minutes": minutes}), out)


def measure(part: str, folder: Path) -> None:
    # Each process imports only what it measures.
    from tests.bench import encode_figures  # noqa: PLC0415

    {"runtimes": encode_figures.runtimes, "road": encode_figures.road}[part](folder)


if __name__ == "__main__":
    main()
