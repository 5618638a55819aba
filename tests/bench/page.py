"""Writing the generated parts of a page of figures, docs/benchmarks.md by default, and plots."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from tests.bench.goals import Goal, Run, number
from tests.paths import PROJECT

DOCUMENT = PROJECT / "docs" / "benchmarks.md"
PLOTS = PROJECT / "docs" / "benchmarks"


def read_run(file: Path) -> Run:
    """Read the lines of a run."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return Run(json.loads(line) for line in lines if line.startswith("{"))


def write_parts(run: Run, parts: Mapping[str, Callable[[Run], str]]) -> None:
    """Write each part of the page anew, from a run."""
    fill_parts(DOCUMENT, {part: write(run) for part, write in parts.items()})


def fill_parts(document: Path, parts: Mapping[str, str]) -> None:
    """Write each part of a page anew, between its markers."""
    text = document.read_text(encoding="utf-8")
    for part, made in parts.items():
        begin, end = f"<!-- {part}: generated -->", f"<!-- {part}: end -->"
        pattern = re.escape(begin) + ".*?" + re.escape(end)
        assert re.search(pattern, text, re.DOTALL), f"{document} has no part {part!r}"
        body = f"{begin}\n{made}\n{end}"
        text = re.sub(pattern, lambda _, body=body: body, text, flags=re.DOTALL)
    document.write_text(text, encoding="utf-8")


def set_up_plots(folder: Path = PLOTS) -> None:
    """Make the same run draw the same bytes: no random ids (and no dates, see `save`)."""
    folder.mkdir(exist_ok=True)
    mpl.rcParams.update({"svg.hashsalt": "slidekin", "font.size": 9, "axes.grid": True})


def save(figure: Figure, name: str, folder: Path = PLOTS) -> None:
    """Keep a plot."""
    figure.savefig(folder / name, bbox_inches="tight", metadata={"Date": None})


def table(head: list[str], rows: list[list[str]]) -> str:
    """Write a table in Markdown."""
    every = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in every)


def goal_table(run: Run, goals: Sequence[Goal]) -> str:
    """Write what must be reached beside what was."""
    rows = []
    for goal in goals:
        value = goal.measured(run)
        if value is None:
            rows.append([goal.figure, goal.must, "not in this run", ""])
        else:
            reached = "yes" if goal.met(value) else "**no**"
            rows.append([goal.figure, goal.must, f"{number(value)} {goal.unit}", reached])
    return table(["figure", "must reach", "measured", "reached"], rows)


def machine(run: Run) -> str:
    """Write what a run was measured on."""
    facts = run.machine
    caches = ", ".join(f"{level} {size}" for level, size in facts["caches"].items())
    # Of the instructions that matter, a run notes which the processor has.
    vector = ", ".join(
        f"{'with' if facts[flag] else 'without'} AVX-512 {flag.removeprefix('avx512_').upper()}"
        for flag in ("avx512_vpopcntdq", "avx512_bf16")
        if flag in facts
    )
    minutes = f" The run took {run.finished['minutes']} minutes." if run.finished else ""
    return (
        f"{facts['cores']} cores of {facts['processor']} ({caches}; {vector}), "
        f"{facts['memory_gib']} GiB of memory, {facts['system']}, transparent huge pages "
        f"`{facts['huge_pages']}`, Python {facts['python']}. Load average before the run: "
        f"{facts.get('load_before', 'not noted')}.{minutes}"
    )
