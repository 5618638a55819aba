"""What benchmarks say: one JSON object a line."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import psutil


def say(
    bench: str,
    value: float,
    unit: str,
    *,
    patches: int = 0,
    threads: int = 1,
    engine: str = "slidekin",
    **more: Any,
) -> None:
    """Print one figure.

    Args:
        bench: What was measured.
        value: The figure.
        unit: Of the figure.
        patches: Patches held.
        threads: Threads that worked.
        engine: Whose figure it is.
        more: What else belongs to it.
    """
    line = {
        "bench": bench,
        "engine": engine,
        "patches": patches,
        "threads": threads,
        "value": float(f"{value:.4g}"),
        "unit": unit,
        **more,
    }
    print(json.dumps(line), flush=True)


def describe_machine() -> dict[str, Any]:
    """What the figures were measured on."""
    facts = Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
    model = next((line.split(":")[1].strip() for line in facts if "model name" in line), "")
    flags = next((line.split(":")[1].split() for line in facts if line.startswith("flags")), [])
    pages = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "processor": model,
        "cores": psutil.cpu_count(),
        "avx512_vpopcntdq": "avx512_vpopcntdq" in flags,
        "avx512_bf16": "avx512_bf16" in flags,
        "caches": _caches(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "huge_pages": pages.read_text(encoding="ascii").strip() if pages.exists() else "",
        "load_before": round(os.getloadavg()[0], 2),
        "system": platform.system() + " " + platform.release(),
        "python": platform.python_version(),
    }


def _caches() -> dict[str, str]:
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level = (folder / "level").read_text(encoding="ascii").strip()
        kind = (folder / "type").read_text(encoding="ascii").strip()
        if kind != "Instruction":
            found[f"L{level}"] = (folder / "size").read_text(encoding="ascii").strip()
    return found
