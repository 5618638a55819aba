"""``make chaos``: the real stack under load while one thing after another breaks.

Exit code 1 at any violation, 2 where it cannot be run here; every line of the run is JSON in the
file that ``--out`` names.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
from pathlib import Path

from tests.bench.lines import describe_machine
from tests.chaos.clock import why_no_clock
from tests.chaos.fault import Fault
from tests.chaos.faults import FAULTS
from tests.chaos.lines import write_lines
from tests.chaos.namespaces import inside, plugged_in, why_no_namespaces
from tests.chaos.run import Outcome, Run
from tests.chaos.stack import running_stack
from tests.triton_stack import build_shipped_bundle, why_no_triton

_INSIDE = "SLIDEKIN_CHAOS_INSIDE"
_NAMES = {kind.name.replace(" ", "-").replace(",", "").lower(): kind for kind in FAULTS}


def main() -> int:
    options = _options()
    reasons = [why_no_namespaces()]
    if options.triton:
        reasons.append(why_no_triton())
    if not options.faults or "clock-jumps" in options.faults:
        reasons.append(why_no_clock())
    for reason in filter(None, reasons):
        print(f"make chaos: {reason}", file=sys.stderr)
        return 2
    if _INSIDE not in os.environ:
        os.environ[_INSIDE] = "yes"
        command = inside([sys.executable, "-m", "tests.chaos", *sys.argv[1:]])
        sys.stdout.flush()
        os.execvp(command[0], command)
    seed = secrets.randbelow(10**8) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="slidekin-chaos-") as scratch:
        outcome = _run(options.keep or Path(scratch), seed, options)
    if options.out:
        write_lines(options.out, outcome, seed=seed, machine=machine)
    for name, reason in outcome.left_out.items():
        print(f"left out: {name}: {reason}")
    calls = len(outcome.records)
    failed = sum(not record.answered for record in outcome.records)
    print(
        f"seed {seed}: {len(outcome.happened)} faults in {outcome.seconds:.0f} s, {calls} calls, "
        f"{failed} failed, {outcome.slides_at_the_end} slides with {outcome.patches_at_the_end} "
        f"patches at the end, {len(outcome.violations)} violations"
    )
    for violation in outcome.violations:
        print(f"VIOLATION {violation}")
    return 1 if outcome.violations else 0


def _run(folder: Path, seed: int, options: argparse.Namespace) -> Outcome:
    kinds: list[type[Fault]] = [_NAMES[name] for name in options.faults] or list(FAULTS)
    folder.mkdir(parents=True, exist_ok=True)
    bundle = build_shipped_bundle(folder / "bundle") if options.triton else None
    run = Run(folder, seed, kinds, tell=lambda line: print(line, flush=True))
    with (
        plugged_in() as cable,
        running_stack(
            folder,
            cable,
            bundle=bundle,
            with_clock=why_no_clock() is None,
            on_death=run.model.died,
        ) as stack,
    ):
        return run.run(stack, options.minutes * 60)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=5, help="each fault comes once in any case"
    )
    parser.add_argument("--seed", type=int, default=None, help="default: one of chance")
    parser.add_argument(
        "--faults", nargs="*", choices=sorted(_NAMES), default=[], help="default: all"
    )
    parser.add_argument(
        "--no-triton", dest="triton", action="store_false", help="ready-made codes alone"
    )
    parser.add_argument("--out", type=Path, help="file of JSON lines")
    parser.add_argument("--keep", type=Path, help="folder for store, logs and history")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
