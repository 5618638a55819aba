"""``make load``: a service under an open loop, from idle to past saturation.

Every figure is one line of JSON on standard output; ``--out`` keeps the lines in a file, from which
``python -m tests.load.report`` makes docs/load.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from tests.bench.lines import describe_machine
from tests.bench.processes import pass_on, run_part
from tests.load.plans import FULL, PARTS, SHORT


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--out", type=Path, help="keep the lines here too")
    parser.add_argument("--short", action="store_true", help="seconds, for a look at the program")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        PARTS[options.part](options.here, SHORT if options.short else FULL)
        return
    begin = time.monotonic()
    with (
        (options.out or Path("/dev/null")).open("w", encoding="utf-8") as out,
        tempfile.TemporaryDirectory(prefix="slidekin-load-") as folder,
    ):
        pass_on(json.dumps({"machine": describe_machine()}), out)
        short = ["--short"] if options.short else []
        arguments = ["tests.load", options.part, *short, "--here", folder]
        run_part(f"load: {options.part}", arguments, out)
        minutes = round((time.monotonic() - begin) / 60, 1)
        pass_on(json.dumps({"finished": True, "minutes": minutes}), out)


if __name__ == "__main__":
    main()
