"""``make faults``: many rounds, a line for each kind of death, exit code 1 at the first fault."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.rounds import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="default: one of chance")
    parser.add_argument("--jobs", type=int, default=2, help="services side by side")
    parser.add_argument("--keep", type=Path, help="folder for stores and histories")
    options = parser.parse_args()
    seed = secrets.randbelow(10**8) if options.seed is None else options.seed
    print(f"{options.rounds} rounds, seed {seed}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="slidekin-faults-") as scratch:
        folder = options.keep or Path(scratch)
        report = run(folder, rounds=options.rounds, seed=seed, side_by_side=options.jobs)
    for point, count in sorted(report.kills.items()):
        print(f"  {count:4} killed at {point}")
    for point, count in sorted(report.missed.items()):
        print(f"  {count:4} of them meant for {point}, which was not come by in time")
    print(
        f"seed {seed}: {report.rounds} rounds in {time.monotonic() - started:.0f} s, "
        f"{report.operations} calls answered, {report.snapshots} snapshots restored, "
        f"{report.reindexes} reindexes finished, "
        f"{len(report.faults)} faults"
    )
    for fault in report.faults:
        print(f"FAULT {fault}")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
