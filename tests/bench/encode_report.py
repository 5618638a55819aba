"""Turn the lines of ``make bench-encode`` into its part of docs/benchmarks.md and its plot.

``python -m tests.bench.encode_report docs/benchmarks/encode.jsonl``
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from tests.bench.goals import ENCODE_GOALS, Line, Run, bare_rate, number
from tests.bench.page import goal_table, machine, read_run, save, set_up_plots, table, write_parts

_ROADS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("Triton, one client, 16 patches in flight", "through Triton", {}),
    ("service, 1 client streams a slide", "through the service",
     {"clients": 1, "file_format": "jpeg"}),
    ("service, 4 clients stream a slide each", "through the service",
     {"clients": 4, "file_format": "jpeg"}),
    ("service, 16 clients stream a slide each", "through the service",
     {"clients": 16, "file_format": "jpeg"}),
    ("service, 4 clients, one patch after the other", "one patch after the other",
     {"clients": 4}),
    ("service, 16 clients, one patch after the other", "one patch after the other",
     {"clients": 16}),
)  # fmt: skip
"""Title, benchmark and fields of what is compared with the networks alone."""


def main() -> None:
    (name,) = sys.argv[1:]
    run = read_run(Path(name))
    set_up_plots()
    plot_road(run)
    write_parts(run, PARTS)


def goals(run: Run) -> str:
    return goal_table(run, ENCODE_GOALS)


def gate(run: Run) -> str:
    """What the gate found of each runtime."""
    rows = []
    for line in run.all("gate"):
        figures = line["figures"]
        if line["network"] == "vqvae":
            found = (
                f"{100 * figures['equal_codes']:.2f} % of codes equal, in the worst patch "
                f"{100 * figures['fewest_equal_codes']:.2f} %; keys differ by at most "
                f"{figures['key_shift_most']:g} of the walk's spacing"
            )
        else:
            found = (
                f"{figures['bits_median']:g} bits differ, {figures['bits_most']:g} in the worst "
                "patch"
            )
        verdict = "accepted" if line["value"] else "refused"
        rows.append([line["network"], line["engine"], verdict, found])
    tissue = ", ".join(run.all("gate")[0]["tissue"]) if rows else "-"
    patches = run.all("gate")[0]["patches"] if rows else 0
    head = ["network", "runtime", "gate", "against torch fp32"]
    return table(head, rows) + f"\n\n{patches} patches of {tissue}."


def runtimes(run: Run) -> str:
    """Networks one by one, and both in every arrangement of threads."""
    one = [
        [line["network"], line["engine"], f"{number(line['value'])} ms"]
        for line in sorted(run.all("one network"), key=lambda line: line["network"], reverse=True)
    ]
    rounds: dict[tuple[str, str], list[float]] = {}
    for line in run.all("bare"):
        rounds.setdefault((line["engine"], line["arrangement"]), []).append(line["value"])
    both = [
        [engine, arrangement, f"{number(sum(rates) / len(rates))} patches/s", str(len(rates))]
        for (engine, arrangement), rates in rounds.items()
    ]
    return (
        table(["network", "runtime", "one patch on all cores"], one)
        + "\n\n"
        + table(["both networks", "arrangement", "mean of its rounds", "rounds"], both)
    )


def road(run: Run) -> str:
    """Patches a second from end to end."""
    bare = bare_rate(run)
    rows = [["networks alone", f"{number(bare)} patches/s", "100 %", "-", "-", "-"]] if bare else []
    for title, line in _on_the_road(run):
        batches = " / ".join(
            str(line["mean_batch"].get(name, "-")) for name in ("vqvae", "texture")
        )
        rows.append(
            [
                title,
                f"{number(line['value'])} patches/s",
                f"{100 * line['value'] / bare:.0f} %" if bare else "-",
                f"{line['p50_ms'] / 1e3:.2f} s",
                f"{line['p99_ms'] / 1e3:.2f} s",
                batches,
            ]
        )
    head = [
        "",
        "throughput",
        "of the networks",
        "p50 of a patch",
        "p99",
        "mean batch (keys / textures)",
    ]
    return table(head, rows)


def lone(run: Run) -> str:
    """One patch at a time."""
    rows = [
        [
            f"{line['engine']}, {line['way']}",
            f"{number(line['value'])} ms",
            f"{line['added_ms']:+.1f} ms",
            "{:+.1f} to {:+.1f} ms".format(*line["added_p10_p90"]),
            f"{number(line['p99_ms'])} ms",
        ]
        for line in run.all("lone patch")
    ]
    head = ["", "median", "added", "eight of ten lie within", "p99"]
    by_codes = run.all("lone patch by codes")
    if not by_codes:
        return table(head, rows)
    (line,) = by_codes
    return (
        f"{table(head, rows)}\n\nA search by codes, without the networks: "
        f"{number(line['value'])} ms just after they ran, {number(line['repeated_ms'])} ms when "
        "it is repeated at once."
    )


def formats(run: Run) -> str:
    """What JPEG, PNG and raw pixels cost."""
    rows = []
    for line in run.all("decoding"):
        file_format = line["file_format"]
        alone = run.all("lone patch", engine="through the service", way=file_format)
        loaded = run.all("through the service", clients=16, file_format=file_format)
        rows.append(
            [
                file_format,
                f"{line['mean_kib']:,} KiB",
                f"{number(line['value'])} ms" if line["value"] else "-",
                f"{alone[0]['added_ms']:+.1f} ms" if alone else "-",
                f"{number(loaded[0]['value'])} patches/s" if loaded else "-",
            ]
        )
    head = ["", "a patch", "decoding", "added to a lone patch", "service, 16 clients"]
    return table(head, rows)


PARTS = {
    "encode-machine": machine,
    "encode-goals": goals,
    "encode-gate": gate,
    "encode-runtimes": runtimes,
    "encode-road": road,
    "encode-lone": lone,
    "encode-formats": formats,
}


def plot_road(run: Run) -> None:
    bars = [
        ("networks alone: torch fp32", bare_rate(run, eager=True) or 0, "#8a8a8a"),
        ("networks alone: default runtime", bare_rate(run) or 0, "#3d6fb6"),
        *((title, line["value"], "#0b6e4f") for title, line in _on_the_road(run)),
    ]
    figure = Figure(figsize=(6.4, 3.4))
    axes = figure.subplots()
    titles, rates, colours = zip(*reversed(bars), strict=True)
    drawn = axes.barh(titles, rates, color=colours)
    axes.bar_label(drawn, fmt="%.2f", padding=3)
    axes.set(title="Patches encoded a second", xlabel="patches/s", xlim=(0, 1.15 * max(rates)))
    axes.grid(visible=False, axis="y")
    save(figure, "encode.svg")


def _on_the_road(run: Run) -> list[tuple[str, Line]]:
    found = [(title, run.all(bench, **fields)) for title, bench, fields in _ROADS]
    return [(title, lines[0]) for title, lines in found if lines]


if __name__ == "__main__":
    main()
