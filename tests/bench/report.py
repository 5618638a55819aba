"""Turn the lines of a run into the generated parts of docs/benchmarks.md and its plots.

``python -m tests.bench.report docs/benchmarks/run.jsonl``
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from tests.bench.goals import GOALS, Line, Run, number
from tests.bench.page import goal_table, machine, read_run, save, set_up_plots, table, write_parts

_BLOCK_BYTES = 144 * 128 / 112
"""A patch in blocks as building leaves them."""
_COLOURS = {
    "slidekin": "#0b6e4f",
    "guided": "#0b6e4f",
    "exact": "#3d6fb6",
    "oracle": "#8a8a8a",
    "numpy searchsorted": "#c98a12",
    "faiss IndexBinaryFlat": "#b5446e",
    "faiss IndexBinaryHNSW": "#7a4fb5",
}


def main() -> None:
    (name,) = sys.argv[1:]
    run = read_run(Path(name))
    set_up_plots()
    plot_guided(run)
    plot_exact(run)
    plot_recall(run)
    write_parts(run, PARTS)


def goals(run: Run) -> str:
    return goal_table(run, GOALS)


def by_size(run: Run) -> str:
    """One row a figure, one column a size."""
    sizes = sorted({line["patches"] for line in run.all("build")})
    wanted: list[tuple[str, str, dict[str, object]]] = [
        ("guided, one patch (median)", "guided", {}),
        ("numpy searchsorted, the same walk", "guided beside rivals",
         {"engine": "numpy searchsorted"}),
        ("plain-Python oracle, the same walk", "guided beside rivals", {"engine": "oracle"}),
        ("guided, 1 thread", "guided throughput", {"threads": 1}),
        ("guided, 2 threads", "guided throughput", {"threads": 2}),
        ("exact, 60 patches, 1 thread", "exact", {"threads": 1, "engine": "slidekin"}),
        ("exact, 60 patches, 2 threads", "exact", {"threads": 2, "engine": "slidekin"}),
        ("faiss IndexBinaryFlat, 60 patches, 1 thread", "exact",
         {"threads": 1, "engine": "faiss IndexBinaryFlat"}),
        ("faiss IndexBinaryFlat, 60 patches, 2 threads", "exact",
         {"threads": 2, "engine": "faiss IndexBinaryFlat"}),
        ("exact, one patch", "exact, one patch", {"engine": "slidekin"}),
        ("faiss IndexBinaryFlat, one patch", "exact, one patch",
         {"engine": "faiss IndexBinaryFlat"}),
        ("exact, best patch of each slide, 60 patches", "exact, best of each slide", {}),
        ("bulk build", "build", {}),
        ("faiss IndexBinaryFlat, build", "flat build", {}),
        ("faiss IndexBinaryHNSW, build, 2 threads", "hnsw build", {}),
        ("add a slide", "add slide", {}),
        ("remove a slide", "remove slide", {}),
        ("memory", "memory", {}),
    ]  # fmt: skip
    rows = []
    for title, bench, fields in wanted:
        found = {line["patches"]: line for line in run.all(bench, **fields)}
        cells = [
            f"{number(found[size]['value'])} {found[size]['unit']}" if size in found else "-"
            for size in sizes
        ]
        rows.append([title, *cells])
    return table(["", *(f"{size:,} patches" for size in sizes)], rows)


def build_notes(run: Run) -> str:
    rows = []
    for build, memory in zip(run.all("build"), run.all("memory"), strict=True):
        rows.append(
            [
                f"{build['patches']:,}",
                f"{build['seconds']:.2f} s",
                f"{number(memory['value'])} bytes/patch",
                f"{number(memory['peak_while_building'])} bytes/patch",
            ]
        )
    written = table(["patches", "build", "memory after it", "peak while building"], rows)
    first = run.all("first touch of memory")
    second = run.all("second touch of memory")
    if first and second:
        # The greatest amount touched tells most.
        most = max(first, key=lambda line: line["mib"])
        again = max(second, key=lambda line: line["mib"])
        seconds = run.all("build")[-1]["patches"] * _BLOCK_BYTES / 2**20 / most["value"]
        written += (
            f"\n\nFirst touch of {most['mib']:,} MiB: {number(most['value'])} MiB/s; second touch: "
            f"{number(again['value'])} MiB/s. The blocks of {run.all('build')[-1]['patches']:,} "
            f"patches alone would take {seconds:.1f} s to touch for the first time."
        )
    return written


def places(run: Run) -> str:
    rows = [
        [
            f"{line['patches']:,}",
            f"{line['distinct_keys']:,}",
            line["engine"],
            f"{number(line['value'])} ns",
            f"{number(line['bytes_per_key'])}",
        ]
        for line in run.all("place")
    ]
    return table(["patches", "distinct keys", "structure", "one place", "bytes a key"], rows)


def limits(run: Run) -> str:
    """What the walk and a plain scan read of memory, and the walk where nothing has to be read."""
    rows = []
    scans = {
        line["patches"]: line
        for line in run.all("exact, one patch", engine="faiss IndexBinaryFlat")
    }
    for line in run.all("guided looks at"):
        size = line["patches"]
        scan = f"{scans[size]['read_gb_per_s']} GB/s" if size in scans else "-"
        walks = (
            run.value("guided beside rivals", engine="slidekin", patches=size),
            run.value("guided from the cache", patches=size),
        )
        times = [f"{number(taken)} ms" if taken else "-" for taken in walks]
        read = f"{line['read_gb_per_s']} GB/s"
        scattered = f"{line['scattered_line_ns']} ns" if "scattered_line_ns" in line else "-"
        rows.append([f"{size:,}", number(line["value"]), read, scan, scattered, *times])
    head = [
        "patches", "patches looked at", "read by the walk", "read by faiss, scanning",
        "a cache line from anywhere", "a walk", "the same walk again, from the cache",
    ]  # fmt: skip
    return table(head, rows)


def recall(run: Run) -> str:
    rows = []
    for line in run.all("recall"):
        setting = {
            "guided": f"{line.get('steps')} steps",
            "faiss IndexBinaryHNSW": f"efSearch {line.get('breadth')}",
            "exact": "two threads, 200 patches at once",
        }[line["engine"]]
        rows.append(
            [
                f"{line['patches']:,}",
                line["engine"],
                setting,
                f"{100 * line['value']:.1f} %",
                f"{number(line['ms_per_patch'])} ms",
                f"{number(line['value'] * line['nearest'] / line['ms_per_patch'])}",
            ]
        )
    head = ["patches", "search", "setting", "share found", "a patch", "true nearest found a ms"]
    return table(head, rows)


def service(run: Run) -> str:
    rows = [
        [title, f"{line['patches']:,}", f"{number(line['value'])} {line['unit']}"]
        for title, bench in (
            ("start from the store (archive alone)", "start from the store"),
            ("service ready (process start, kernels from cache, store)", "service ready"),
            ("search of a 60-patch slide by codes through gRPC", "search through gRPC"),
            ("writing slides to the store, one transaction each", "store writes"),
        )
        for line in run.all(bench)
    ]
    return table(["", "patches", "measured"], rows)


def slide(run: Run) -> str:
    if run.slide is None:
        return "not in this run"
    line = run.slide
    return (
        f"Mosaic of a drawn {line['side_px']:,} x {line['side_px']:,} px slide, profile `default`: "
        f"{line['wall_s']} s, {line['peak_rss_gib']} GiB at its peak "
        f"(must reach: <= {line['goals']['wall_s']:.0f} s, "
        f"<= {line['goals']['peak_rss_gib']} GiB)."
    )


PARTS = {
    "machine": machine,
    "goals": goals,
    "sizes": by_size,
    "build": build_notes,
    "places": places,
    "limits": limits,
    "recall": recall,
    "service": service,
    "slide": slide,
}


def draw(axes: Axes, lines: list[Line], label: str, engine: str, style: str = "o-") -> None:
    if lines:
        across = [line["patches"] for line in lines]
        axes.plot(
            across, [line["value"] for line in lines], style, label=label, color=_COLOURS[engine]
        )


def logarithmic(title: str, across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 3.8))
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log", title=title, xlabel=across, ylabel=up)
    return figure, axes


def plot_guided(run: Run) -> None:
    figure, axes = logarithmic("One patch, one thread (median)", "patches held", "ms")
    rivals = "guided beside rivals"
    draw(axes, run.all(rivals, engine="oracle"), "guided: plain Python", "oracle")
    name = "numpy searchsorted"
    draw(axes, run.all(rivals, engine=name), "guided: numpy searchsorted", name)
    draw(axes, run.all("guided"), "guided: slidekin", "slidekin")
    name = "faiss IndexBinaryFlat"
    draw(axes, run.all("exact, one patch", engine=name), "exact: faiss flat", name, "s--")
    own = run.all("exact, one patch", engine="slidekin")
    draw(axes, own, "exact: slidekin", "exact", "s--")
    # Beside the axes: within them it would hide a line.
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    save(figure, "guided.svg")


def plot_exact(run: Run) -> None:
    figure, axes = logarithmic("Exact scan, 60 patches, nearest 100", "patches held", "ms")
    for engine, colour in (
        ("faiss IndexBinaryFlat", "faiss IndexBinaryFlat"),
        ("slidekin", "exact"),
    ):
        for threads, style in ((1, "o-"), (2, "s--")):
            found = run.all("exact", engine=engine, threads=threads)
            draw(axes, found, f"{engine}, {threads} thread(s)", colour, style)
    axes.legend()
    save(figure, "exact.svg")


def plot_recall(run: Run) -> None:
    sizes = sorted({line["patches"] for line in run.all("recall")})
    figure = Figure(figsize=(3.2 * len(sizes), 3.4))
    for axes, size in zip(figure.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True):
        for engine, style in (("guided", "o-"), ("faiss IndexBinaryHNSW", "s-"), ("exact", "D")):
            found = run.all("recall", patches=size, engine=engine)
            # Without points, too: the last panel's legend serves all.
            axes.plot(
                [line["ms_per_patch"] for line in found],
                [line["value"] for line in found],
                style,
                label=engine,
                color=_COLOURS[engine],
            )
        axes.set(
            xscale="log", ylim=(0, 1.05), title=f"{size:,} patches", xlabel="ms a patch",
            ylabel="share of the true nearest 10",
        )  # fmt: skip
        # Less than two decades: the places between powers of ten would be labelled one on another.
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    figure.tight_layout()
    save(figure, "recall.svg")


if __name__ == "__main__":
    main()
