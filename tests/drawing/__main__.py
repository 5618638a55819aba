"""Draw a labelled collection: ``python -m tests.drawing --out DIR``."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.drawing.draw import draw_collection


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.drawing", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to fill")
    parser.add_argument("--patients", type=int, default=3, help="for each of the four patterns")
    parser.add_argument("--slides", type=int, default=2, help="for each patient")
    parser.add_argument("--seed", type=int, default=0, help="draws another collection")
    options = parser.parse_args()

    def tell(name: str, done: int, total: int) -> None:
        print(f"drawn {done} of {total}: {name}", flush=True)

    labels = draw_collection(
        options.out,
        patients=options.patients,
        slides_per_patient=options.slides,
        seed=options.seed,
        progress=tell,
    )
    print(f"labels: {labels}")


main()
