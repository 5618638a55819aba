"""Turn the lines of ``make load`` into the generated parts of docs/load.md and its plots.

``python -m tests.load.report docs/load/codes.jsonl docs/load/images.jsonl``
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from tests.bench.goals import Line, Run, number
from tests.bench.page import fill_parts, goal_table, machine, save, set_up_plots, table
from tests.load.goals import GOALS, WORKLOADS
from tests.load.measure import OVERLOAD
from tests.load.plans import FLOODS
from tests.paths import PROJECT

PAGE = PROJECT / "docs" / "load.md"
PLOTS = PROJECT / "docs" / "load"
_GREEN, _GREY, _BLUE, _RED, _OCHRE = "#0b6e4f", "#8a8a8a", "#3d6fb6", "#b5446e", "#c98a12"


def main() -> None:
    run = read_runs([Path(name) for name in sys.argv[1:]])
    set_up_plots(PLOTS)
    plot_goodput(run)
    plot_latency(run)
    plot_fairness(run)
    fill_parts(PAGE, {part: write(run) for part, write in PARTS.items()})


def read_runs(files: list[Path]) -> Run:
    """Read runs of the parts as one."""
    lines = [
        json.loads(line)
        for file in files
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith("{")
    ]
    minutes = sum(line["minutes"] for line in lines if "finished" in line)
    machines = [line for line in lines if "machine" in line]
    figures = [line for line in lines if "bench" in line]
    return Run([*machines[:1], *figures, {"finished": True, "minutes": round(minutes, 1)}])


def goals(run: Run) -> str:
    return goal_table(run, GOALS)


def saturation(run: Run) -> str:
    """Where each workload is saturated, and what becomes of it past that."""
    rows = []
    for workload in WORKLOADS:
        for found in run.all("saturation", workload=workload):
            (past,) = run.all("step", workload=workload, factor=OVERLOAD)
            (at,) = run.all("step", workload=workload, factor=1.0)
            rows.append(
                [
                    workload,
                    f"{number(found['value'])}/s",
                    latencies(at["answered_ms"]),
                    f"{number(found['goodput'])}/s",
                    f"{number(past['value'])}/s",
                    latencies(past["answered_ms"]),
                    latencies(past["refused_ms"]),
                ]
            )
    head = [
        "workload", "saturating rate", "latency there: p50, p99", "greatest goodput",
        "goodput at twice the rate", "latency of those answered: p50, p99",
        "of those refused: p50, p99",
    ]  # fmt: skip
    return table(head, rows)


def outcomes(run: Run) -> str:
    """How calls ended at twice the saturating rate."""
    rows = [
        [
            workload,
            f"{line['calls']:,}",
            count_outcomes(line["outcomes"]),
            f"{line['refused_with_retry']:,} of {line['refused']:,}",
            number(line["service_cpu"]),
            number(line["generator_cpu"]),
            f"{number(line['generator_lag_p99_ms'])} ms",
        ]
        for workload in WORKLOADS
        for line in run.all("step", workload=workload, factor=OVERLOAD)
    ]
    head = [
        "workload", "calls", "ended", "refusals with RetryInfo",
        "processors: service", "generator", "generator late, p99",
    ]  # fmt: skip
    return table(head, rows)


def fairness(run: Run) -> str:
    """What a quiet site sees alone and beside a flood."""
    rows = []
    for name in FLOODS:
        pairs = {line["situation"]: line for line in run.all("quiet site", fairness=name)}
        if not pairs:
            continue
        alone, beside = pairs["alone"], pairs["beside"]
        (flood,) = run.all("flooding site", fairness=name)
        rows.append(
            [
                name,
                f"{alone['calls']} calls: {latencies(alone['answered_ms'])}",
                f"{beside['calls']} calls: {latencies(beside['answered_ms'])}",
                f"{number(beside['value'])} %",
                f"{number(flood['value'])} of {number(flood['offered'])}/s",
                count_outcomes(flood["outcomes"]),
            ]
        )
    head = [
        "", "alone: p50, p99", "beside the flood: p50, p99", "of them answered in time",
        "flood answered", "its calls ended",
    ]  # fmt: skip
    return table(head, rows)


def latencies(quantiles: dict[str, float]) -> str:
    """Write median and 99th percentile."""
    if not quantiles:
        return "-"
    return ", ".join(_time(quantiles[name]) for name in ("p50", "p99"))


def _time(ms: float) -> str:
    return f"{ms / 1000:.2f} s" if ms >= 1000 else f"{number(ms)} ms"


def count_outcomes(counts: dict[str, int]) -> str:
    """Write how calls ended, the most frequent first."""
    return ", ".join(f"{count:,} {name}" for name, count in Counter(counts).most_common())


PARTS = {
    "load-machine": machine,
    "load-goals": goals,
    "load-saturation": saturation,
    "load-outcomes": outcomes,
    "load-fairness": fairness,
}


def _panels(run: Run, height: float) -> tuple[Figure, list[tuple[Axes, str, list[Line], float]]]:
    """One panel a workload: its steps in order of what was offered, and where it is saturated."""
    shown = [name for name in WORKLOADS if run.all("saturation", workload=name)]
    figure = Figure(figsize=(4.1 * len(shown), height), layout="constrained")
    panels = []
    for axes, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        steps = sorted(run.all("step", workload=name), key=lambda line: line["offered"])
        rate = run.value("saturation", workload=name) or 0.0
        axes.axvline(rate, color=_GREY, linestyle=":", label="saturating rate")
        axes.axvline(OVERLOAD * rate, color=_GREY, linestyle="--", label="twice that")
        axes.set_title(name.replace(", ", ",\n"))
        axes.set_xlabel("calls offered a second")
        panels.append((axes, name, steps, rate))
    return figure, panels


def _share(line: Line, *codes: str) -> float:
    count = sum(n for name, n in line["outcomes"].items() if name.split()[0] in codes)
    return line["offered"] * count / max(line["calls"], 1)


def plot_goodput(run: Run) -> None:
    figure, panels = _panels(run, 3.6)
    for axes, _, steps, _ in panels:
        offered = [line["offered"] for line in steps]
        axes.plot(offered, offered, color=_GREY, linewidth=0.8, label="all that is offered")
        answered = [line["value"] for line in steps]
        axes.plot(offered, answered, "o-", color=_GREEN, label="answered in time (goodput)")
        refused = [
            _share(line, "RESOURCE_EXHAUSTED", "UNAVAILABLE", "STATUS_LOST") for line in steps
        ]
        axes.plot(offered, refused, "s--", color=_OCHRE, label="refused at once")
        late = [_share(line, "DEADLINE_EXCEEDED") for line in steps]
        axes.plot(offered, late, "^--", color=_RED, label="too late")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
    panels[0][0].set_ylabel("calls a second")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    save(figure, "goodput.svg", PLOTS)


def plot_latency(run: Run) -> None:
    figure, panels = _panels(run, 3.6)
    for axes, _, steps, _ in panels:
        for quantile, colour in (("p50", _GREEN), ("p90", _BLUE), ("p99", _RED)):
            told = [line for line in steps if line["answered_ms"]]
            axes.plot(
                [line["offered"] for line in told],
                [line["answered_ms"][quantile] for line in told],
                "o-", color=colour, label=f"answered, {quantile}",
            )  # fmt: skip
        told = [line for line in steps if line["refused_ms"]]
        axes.plot(
            [line["offered"] for line in told],
            [line["refused_ms"]["p50"] for line in told],
            "s--", color=_OCHRE, label="refused, p50",
        )  # fmt: skip
        axes.set_xlim(left=0)
        _logarithmic(axes)
    panels[0][0].set_ylabel("ms from when the call was due")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    save(figure, "latency.svg", PLOTS)


def plot_fairness(run: Run) -> None:
    shown = [name for name in FLOODS if run.all("quiet site", fairness=name)]
    figure = Figure(figsize=(3.4 * len(shown), 3.4), layout="constrained")
    grid = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, name in zip(grid, shown, strict=True):
        pairs = {line["situation"]: line for line in run.all("quiet site", fairness=name)}
        for place, (situation, colour) in enumerate((("alone", _GREEN), ("beside", _RED))):
            times = pairs[situation]["answered_ms"]
            names = [quantile for quantile in ("p50", "p90", "p99") if quantile in times]
            across = [at + 0.38 * (place - 0.5) for at in range(len(names))]
            label = {"alone": "alone", "beside": "beside the flood"}[situation]
            bars = axes.bar(across, [times[at] for at in names], 0.36, color=colour, label=label)
            axes.bar_label(bars, [_time(times[at]) for at in names], fontsize=7, padding=1)
        axes.set_xticks(range(3), ["p50", "p90", "p99"])
        axes.grid(visible=False, axis="x")
        if any(line["answered_ms"] for line in pairs.values()):
            _logarithmic(axes)
        axes.margins(y=0.15)
        title = name.replace(" beside ", "\nbeside ")
        axes.set_title(f"{title}\n({number(pairs['beside']['value'])} % answered in time)")
    grid[0].set_ylabel("ms")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    save(figure, "fairness.svg", PLOTS)


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


if __name__ == "__main__":
    main()
