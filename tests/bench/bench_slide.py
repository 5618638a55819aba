"""Time and memory of the mosaic of a large slide: ``python -m tests.bench.bench_slide``.

Draws a slide (40,000 x 40,000 px at 20x as it comes) and makes its mosaic in a fresh process for
each profile, so that the peak of its resident memory is that of the mosaic alone. Prints a line of
JSON for each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
GOALS = {"wall_s": 60.0, "peak_rss_gib": 1.5}
"""For the default profile, 40,000 x 40,000 px, two cores."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=40_000, help="of the slide, pixels at 20x")
    parser.add_argument("--dir", type=Path, help="keep the drawn slide here and use it again")
    parser.add_argument("--profiles", default="default,sish-2022", help="separated by commas")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.profiles)))
        return
    with tempfile.TemporaryDirectory(prefix="slidekin-bench-") as temporary:
        folder = options.dir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        slide = folder / f"drawn-{options.side}.tiff"
        if not slide.exists():
            draw(slide, options.side)
        for profile in options.profiles.split(","):
            # The slide is in the page cache after drawing; so it is after a copy from a scanner.
            command = [sys.executable, "-m", "tests.bench.bench_slide"]
            command += ["--measure", str(slide), "--profiles", profile]
            paths = os.pathsep.join([str(PROJECT / "client"), str(PROJECT)])
            environment = {**os.environ, "PYTHONPATH": paths}
            subprocess.run(command, check=True, cwd=PROJECT, env=environment)


def draw(path: Path, side_px: int) -> None:
    from tests.drawing import PATTERNS, draw_slide  # noqa: PLC0415 - not part of the measurement

    started = time.monotonic()
    part = path.with_suffix(".part")
    tissue = round(0.95 * side_px)
    draw_slide(
        part, PATTERNS, width_px=side_px, height_px=side_px, tissue_px=(tissue, tissue), seed=1
    )
    part.rename(path)
    line = {
        "benchmark": "slide",
        "step": "draw",
        "side_px": side_px,
        "wall_s": round(time.monotonic() - started, 1),
        "file_mib": round(path.stat().st_size / 2**20),
        "peak_rss_gib": peak_rss_gib(),
    }
    print(json.dumps(line), flush=True)


def measure(path: Path, profile: str) -> dict[str, object]:
    started = time.monotonic()
    from slidekin.slides import PROFILES, make_mosaic, open_slide, read_patches  # noqa: PLC0415

    stages: dict[str, float] = {}

    def tell(stage: str, done: int, total: int) -> None:
        stages[stage] = round(time.monotonic() - started, 2)

    with open_slide(path) as slide:
        mosaic = make_mosaic(slide, PROFILES[profile], progress=tell)
        wall_s = time.monotonic() - started
        mosaic_rss_gib = peak_rss_gib()
        patches = sum(1 for _ in read_patches(slide, mosaic))
        read_s = time.monotonic() - started - wall_s
        side_px = slide.dimensions[0]
    met = wall_s <= GOALS["wall_s"] and mosaic_rss_gib <= GOALS["peak_rss_gib"]
    line: dict[str, object] = {
        "benchmark": "slide",
        "step": "mosaic",
        "profile": profile,
        "side_px": side_px,
        "cores": os.cpu_count(),
        "tissue_mm2": round(mosaic.tissue.area_mm2, 1),
        "grid_patches": mosaic.grid_patches,
        "mosaic_patches": len(mosaic.positions),
        "wall_s": round(wall_s, 2),
        "stage_ends_s": stages,
        "peak_rss_gib": mosaic_rss_gib,
        "read_patches_s": round(read_s, 2),
        "patches_read": patches,
        "peak_rss_with_reading_gib": peak_rss_gib(),
    }
    return line if profile != "default" else {**line, "goals": GOALS, "met": met}


def peak_rss_gib() -> float:
    """Of this process since it was executed: what getrusage says includes the parent's peak."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(int(kib) / 2**20, 3)


if __name__ == "__main__":
    main()
