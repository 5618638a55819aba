"""``make soak``: minutes of steady load, and whether anything grows; exit code 1 where it does.

Every sample and figure is one line of JSON on standard output; ``--out`` keeps the lines in a file,
from which ``python -m tests.soak.report`` makes its part of docs/load.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.bench.lines import describe_machine
from tests.bench.processes import pass_on, run_part
from tests.soak.run import Soak, run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--out", type=Path, help="keep the lines here too")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.minutes < 5:
        parser.error("--minutes: at least 5; in less, everything is still warming up")
    if options.here:
        report = run(options.here, Soak.of_minutes(options.minutes))
        for fault in report.faults:
            print(f"soak: {fault}", file=sys.stderr)
        sys.exit(1 if report.faults else 0)
    with (
        (options.out or Path("/dev/null")).open("w", encoding="utf-8") as out,
        tempfile.TemporaryDirectory(prefix="slidekin-soak-") as folder,
    ):
        pass_on(json.dumps({"machine": describe_machine()}), out)
        arguments = ["tests.soak", "--minutes", str(options.minutes), "--here", folder]
        run_part(f"soak: {options.minutes:g} minutes", arguments, out)
        pass_on(json.dumps({"finished": True, "minutes": options.minutes}), out)


if __name__ == "__main__":
    main()
