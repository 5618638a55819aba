"""Turn the lines of ``make chaos`` into the part "chaos" of docs/reliability.md and its plot.

``python -m tests.chaos.report docs/reliability/chaos.jsonl``
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from tests.bench.page import fill_parts, save, set_up_plots, table
from tests.chaos.calls import Kind
from tests.paths import PROJECT

PAGE = PROJECT / "docs" / "reliability.md"
PLOTS = PROJECT / "docs" / "reliability"
PLOT = "chaos.svg"
_CODES = {Kind.SEARCH: "#3d6fb6", Kind.INGEST: "#0b6e4f", Kind.DELETE: "#8a8a8a"}
_IMAGES = {Kind.IMAGE_SEARCH: "#7fb2e5", Kind.IMAGE_INGEST: "#7cc4a4"}
_RED = "#b5446e"
_SHOWN = ("search", "ingest", "images")
_Lines = Sequence[dict[str, Any]]


def main() -> None:
    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    set_up_plots(PLOTS)
    plot(lines)
    fill_parts(PAGE, {"chaos": part(lines)})


def part(lines: _Lines) -> str:
    """What a run came to, in words and a table."""
    (run,), (end,) = _of(lines, "run"), _of(lines, "end")
    faults = _of(lines, "fault")
    rows = [_row([one for one in faults if one["name"] == name]) for name in _names(faults)]
    left_out = "".join(f" Left out: {name} ({why})." for name, why in end["left_out"].items())
    violations = [f"- **violation**: {violation}" for violation in end["violations"]]
    told = (
        f"`make chaos SEED={run['seed']}`: {len(faults)} faults in {end['seconds']} s; "
        f"{end['calls']} calls of the SDK, {end['failed']} of which failed; at the end "
        f"{end['slides']} slides with {end['patches']} patches were there; "
        f"{len(end['violations'])} violations.{left_out} {run['cores']} cores of "
        f"{run['processor']}, load average {run['load_before']} (above 2, other work shared them)."
    )
    return "\n".join(
        [
            told,
            "",
            *violations,
            table(
                ["fault", "times", "lasted, s", *(f"{one} again, s" for one in _SHOWN), "failed"],
                rows,
            ),
            "",
            f"![Calls answered and failed in each second, with the faults](reliability/{PLOT})",
        ]
    )


def _row(faults: _Lines) -> list[str]:
    """All faults of one kind."""
    lasted = [one["healed_s"] - one["injected_s"] for one in faults]
    failed: Counter[str] = Counter()
    for one in faults:
        failed.update(one["failed"])
    calls = sum(one["calls"] for one in faults)
    told = ", ".join(f"{count} `{what}`" for what, count in failed.most_common())
    return [
        faults[0]["name"],
        str(len(faults)),
        _span(lasted),
        *(_recovery([one["recovery_s"].get(shown, "") for one in faults]) for shown in _SHOWN),
        f"{told} of {calls}" if told else f"none of {calls}",
    ]


def _recovery(took_s: Sequence[Any]) -> str:
    if "" in took_s:
        return "not asked"
    return "**never**" if None in took_s else _span(took_s)


def _span(values: Sequence[float]) -> str:
    """From the least to the greatest."""
    least, most = f"{min(values):.1f}", f"{max(values):.1f}"
    return least if least == most else f"{least} to {most}"


def plot(lines: _Lines) -> None:
    """Draw calls against time, answered above and failed below, with the faults marked."""
    seconds = _of(lines, "second")
    faults = _of(lines, "fault")
    times = [line["second"] for line in seconds]
    figure = Figure(figsize=(11, 6))
    codes, images, failed = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1, 1])
    codes.stackplot(
        times,
        *([line.get(kind, 0) for line in seconds] for kind in _CODES),
        labels=[str(kind) for kind in _CODES],
        colors=list(_CODES.values()),
    )
    below = [0] * len(times)
    for kind, colour in _IMAGES.items():  # few: areas would be needles
        counts = [line.get(kind, 0) for line in seconds]
        images.bar(times, counts, bottom=below, width=1, color=colour, label=str(kind))
        below = [one + other for one, other in zip(below, counts, strict=True)]
    for axes in (codes, images):
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    failed.bar(times, [line.get("failed", 0) for line in seconds], width=1, color=_RED)
    for axes in (codes, images, failed):
        for one in faults:
            axes.axvspan(one["injected_s"], one["healed_s"], color=_RED, alpha=0.18, linewidth=0)
        axes.set_axisbelow(True)
        axes.set_xlim(0, max(times, default=1))
    top = codes.get_ylim()[1]
    codes.set_ylim(0, top)
    for one in faults:
        codes.text(
            (one["injected_s"] + one["healed_s"]) / 2,
            top * 1.02,
            one["name"],
            rotation=40,
            ha="left",
            va="bottom",
            fontsize=8,
        )
    codes.set_ylabel("answered in a second")
    images.set_ylabel("images")
    failed.set_ylabel("failed")
    failed.set_xlabel("seconds; red: while the fault lasted")
    save(figure, PLOT, PLOTS)


def _of(lines: _Lines, kind: str) -> _Lines:
    return [line for line in lines if line["line"] == kind]


def _names(faults: _Lines) -> list[str]:
    """Each name once, in order of the alphabet."""
    by_name: Callable[[str], str] = str.lower
    return sorted({one["name"] for one in faults}, key=by_name)


if __name__ == "__main__":
    main()
