"""Turn the lines of ``make soak`` into its part of docs/load.md and its plot.

``python -m tests.soak.report docs/load/soak.jsonl``
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure
from tests.bench.goals import Line, Run, number
from tests.bench.page import fill_parts, machine, read_run, save, set_up_plots, table
from tests.load.report import PAGE, PLOTS, count_outcomes, latencies
from tests.soak.trend import WARM_UP_SHARE

_PANELS = (
    ("memory of the service, MiB", {"PSS": "service_pss_mib", "RSS": "service_rss_mib"}),
    ("memory of Triton, MiB", {"PSS": "triton_pss_mib", "RSS": "triton_rss_mib"}),
    ("shared memory and store, MiB", {"/dev/shm": "shm_mib", "store": "store_mib"}),
    ("open files", {"service": "service_fds", "Triton": "triton_fds"}),
    ("threads", {"service": "service_threads", "Triton": "triton_threads"}),
    ("logs, MiB (not judged)", {"logs": "logs_mib"}),
)
_COLOURS = ("#0b6e4f", "#c98a12")


def main() -> None:
    (name,) = sys.argv[1:]
    run = read_run(Path(name))
    set_up_plots(PLOTS)
    plot_samples(run)
    fill_parts(PAGE, {part: write(run) for part, write in PARTS.items()})


def verdicts(run: Run) -> str:
    """What each measure did after the warm-up."""
    rows = [
        [
            line["title"],
            f"{number(line['typical'])} {line['unit']}",
            f"{number(line['least'])} to {number(line['most'])}",
            _signed(line["value"]),
            number(line["allowed"]),
            _signed(line["per_hour"]),
            "yes" if line["flat"] else "**no**",
        ]
        for line in run.all("trend")
    ]
    head = [
        "", "median", "from, to", "growth by the slope", "allowed", "the same for an hour", "flat",
    ]  # fmt: skip
    return table(head, rows)


def calls(run: Run) -> str:
    """How the calls of each kind ended."""
    rows = [
        [
            line["kind"],
            number(line["value"]),
            count_outcomes(line["outcomes"]),
            latencies(line["answered_ms"]),
        ]
        for line in run.all("calls")
    ]
    return table(["kind", "calls", "ended", "latency: p50, p99"], rows)


def end(run: Run) -> str:
    """What was under way when nobody asked any more, and the verdict."""
    (left,), (faults,) = run.all("left over"), run.all("faults")
    under_way = "nothing" if not left["value"] else ", ".join(left["found"])
    verdict = "no fault" if not faults["value"] else "; ".join(faults["found"])
    return f"Under way once nobody asked: {under_way}. Verdict: {verdict}."


PARTS = {"soak-machine": machine, "soak-trends": verdicts, "soak-calls": calls, "soak-end": end}


def plot_samples(run: Run) -> None:
    figure = Figure(figsize=(10.5, 5.4), layout="constrained")
    samples = run.all("sample")
    minutes = [line["at_s"] / 60 for line in samples]
    warm = minutes[0] + WARM_UP_SHARE * (minutes[-1] - minutes[0])
    for axes, (title, measures) in zip(figure.subplots(2, 3).flat, _PANELS, strict=True):
        for colour, (label, measure) in zip(_COLOURS, measures.items(), strict=False):
            values = [line[measure] for line in samples]
            axes.plot(minutes, values, color=colour, linewidth=1, label=label)
        axes.axvspan(minutes[0], warm, color="#8a8a8a", alpha=0.15, label="warm-up")
        axes.set_ylim(0, _headroom(samples, list(measures.values())))
        axes.set(title=title, xlabel="minutes")
        axes.legend(loc="lower right", fontsize=7)
    save(figure, "soak.svg", PLOTS)


def _headroom(samples: list[Line], measures: list[str]) -> float:
    return 1.15 * max(line[measure] for line in samples for measure in measures) or 1.0


def _signed(value: float) -> str:
    return f"{value:+.3g}"


if __name__ == "__main__":
    main()
