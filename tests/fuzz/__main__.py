"""``make fuzz``: every target, a JSON line for each, exit code 1 where something was found."""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz import targets
from tests.fuzz.requests import KINDS
from tests.fuzz.results import Result
from tests.fuzz.triton import TARGET as TRITON

_FOLDER = Path("fuzz-findings")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="in all")
    parser.add_argument("--seed", type=int, default=None, help="default: one of chance")
    parser.add_argument("--targets", nargs="*", default=None, help="default: all of them")
    parser.add_argument("--out", type=Path, default=None, help="file for the lines")
    parser.add_argument("--findings", type=Path, default=_FOLDER, help="folder for inputs")
    parser.add_argument("--replay", type=Path, default=None, help="an input from that folder")
    options = parser.parse_args()
    if options.replay:
        return 0 if targets.replay(options.replay.resolve()) else 1
    number = secrets.randbelow(10**8) if options.seed is None else options.seed
    lines = [_facts(options.inputs, number)]
    print(json.dumps(lines[0]), flush=True)
    clean = True
    for result in _results(options.inputs, number, options.targets):
        lines.append(result.to_json())
        print(json.dumps(lines[-1]), flush=True)
        clean &= result.clean
        for finding in result.findings:
            file = finding.save(options.findings)
            print(f"FOUND {finding.target}: {finding.what}\n  make fuzz REPLAY={file}", flush=True)
        if result.leaks:
            print(f"FOUND {result.target}: memory grew by {result.memory_growth_mib} MiB")
    if options.out:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    made = sum(line.get("inputs", 0) for line in lines[1:])
    print(f"seed {number}: {made} inputs, {'nothing found' if clean else 'FOUND, see above'}")
    return 0 if clean else 1


def _results(inputs: int, number: int, chosen: list[str] | None) -> Iterator[Result]:
    """Run the targets: those that drive a service one by one, the readers side by side."""
    shares = targets.shares()
    unknown = sorted(set(chosen or ()) - shares.keys())
    if unknown:
        raise SystemExit(f"no target {', '.join(unknown)}; there are {', '.join(shares)}")
    names = chosen or list(shares)
    whole = sum(shares[name] for name in names)
    # Rounded up, so that a run makes no fewer than were asked for.
    parts = {name: -int(-inputs * shares[name] // whole) for name in names}
    alone = [name for name in names if name in KINDS or name == TRITON]
    for name in alone:
        yield targets.run(name, parts[name], number)
    readers = [name for name in names if name not in alone]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(lambda name: targets.run(name, parts[name], number), readers)


def _facts(inputs: int, number: int) -> dict[str, object]:
    return {
        "run": time.strftime("%Y-%m-%d", time.gmtime()),
        "asked_for": inputs,
        "seed": number,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
    }


if __name__ == "__main__":
    sys.exit(main())
