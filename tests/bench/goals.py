"""What must be reached, and which line of a run shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

Line = dict[str, Any]
"""One line of a run."""
TEN_MILLION = 10_000_000
MILLION = 1_000_000


class Run:
    """The lines of one run of a benchmark."""

    def __init__(self, lines: Iterable[Line]) -> None:
        every = list(lines)
        self.machine: dict[str, Any] = next(
            (line["machine"] for line in every if "machine" in line), {}
        )
        self.finished = next((line for line in every if "finished" in line), None)
        self.lines = [line for line in every if "bench" in line]
        self.slide = next(
            (
                line
                for line in every
                if line.get("benchmark") == "slide" and line.get("profile") == "default"
            ),
            None,
        )

    def all(self, bench: str, **wanted: Any) -> list[Line]:
        """Return the lines of a benchmark with these fields, in order of patches."""
        found = [
            line
            for line in self.lines
            if line["bench"] == bench
            and all(line.get(name) == value for name, value in wanted.items())
        ]
        return sorted(found, key=lambda line: line["patches"])

    def value(self, bench: str, **wanted: Any) -> float | None:
        """Return the figure of the one such line, None where the run has none."""
        found = self.all(bench, **wanted)
        return float(found[0]["value"]) if found else None


@dataclass(frozen=True)
class Goal:
    """One row of the table of what must be reached."""

    figure: str
    sign: Literal["<=", ">="]
    bound: float
    unit: str
    measured: Callable[[Run], float | None]

    @property
    def must(self) -> str:
        """The bound in words."""
        return f"{self.sign} {number(self.bound)} {self.unit}"

    def met(self, value: float) -> bool:
        """Say whether a figure reaches the bound."""
        return value <= self.bound if self.sign == "<=" else value >= self.bound


def number(value: float) -> str:
    """Write a figure with three digits that matter."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _growth(run: Run) -> float | None:
    small = run.value("guided", patches=100_000)
    large = run.value("guided", patches=TEN_MILLION)
    return large / small if small and large else None


def _second_thread(run: Run) -> float | None:
    one = run.value("guided throughput", patches=TEN_MILLION, threads=1)
    two = run.value("guided throughput", patches=TEN_MILLION, threads=2)
    return two / one if one and two else None


GOALS = (
    Goal(
        "guided search, one patch, default parameters, 10 million patches, median",
        "<=", 0.35, "ms", lambda run: run.value("guided", patches=TEN_MILLION),
    ),
    Goal("the same, 10 million against 100,000", "<=", 3, "times", _growth),
    Goal(
        "against the plain-Python oracle at 1 million",
        ">=", 500, "times", lambda run: run.value("guided against oracle", patches=MILLION),
    ),
    Goal(
        "exact scan, 60-patch query, 1 million patches, against faiss IndexBinaryFlat, one thread",
        ">=", 1.5, "times",
        lambda run: run.value("exact against faiss", patches=MILLION, threads=1),
    ),
    Goal(
        "the same, both on two threads",
        ">=", 1.5, "times",
        lambda run: run.value("exact against faiss", patches=MILLION, threads=2),
    ),
    Goal("two threads against one, guided, 10 million patches", ">=", 1.7, "times", _second_thread),
    Goal(
        "bulk build, 10 million patches",
        ">=", 2e6, "patches/s", lambda run: run.value("build", patches=TEN_MILLION),
    ),
    Goal(
        "online AddSlide of 60 patches, index part, 10 million patches, median",
        "<=", 2, "ms", lambda run: run.value("add slide", patches=TEN_MILLION),
    ),
    Goal(
        "memory, 1024 bits, 10 million patches, as the process grows",
        "<=", 200, "bytes/patch", lambda run: run.value("memory", patches=TEN_MILLION),
    ),
    Goal(
        "start from the store, 100,000 slides of 60 patches",
        "<=", 20, "s", lambda run: run.value("start from the store", slides=100_000),
    ),
    Goal(
        "60-patch slide by codes through gRPC, 10 million patches, ranked answer, median",
        "<=", 40, "ms", lambda run: run.value("search through gRPC", patches=TEN_MILLION),
    ),
)  # fmt: skip


def bare_rate(run: Run, *, eager: bool = False) -> float | None:
    """Return patches a second of the networks alone, in the arrangement that encoded most."""
    by_arrangement: dict[str, list[float]] = {}
    for line in run.all("bare"):
        if ("torch fp32, " in line["engine"]) is eager:
            by_arrangement.setdefault(line["arrangement"], []).append(line["value"])
    return max((sum(all_) / len(all_) for all_ in by_arrangement.values()), default=None)


def _against_eager(run: Run) -> float | None:
    """Return the default runtime against torch, where the gate accepted it for both networks."""
    default, eager = bare_rate(run), bare_rate(run, eager=True)
    accepted = {
        f"{line['network']} {line['engine']}" for line in run.all("gate") if line["value"] == 1
    }
    names = {line["engine"] for line in run.all("bare")}
    chosen = next((name for name in names if "torch fp32, " not in name), "")
    if not default or not eager or not accepted.issuperset(chosen.split(", ")):
        return None
    return default / eager


def _least_mean_batch(run: Run) -> float | None:
    found = run.all("through the service", clients=16, file_format="jpeg")
    batches = found[0]["mean_batch"] if found else {}
    return min((batches[name] for name in ("vqvae", "texture") if name in batches), default=None)


def _added_ms(run: Run) -> float | None:
    found = run.all("lone patch", engine="through the service", way="jpeg")
    return float(found[0]["added_ms"]) if found else None


ENCODE_GOALS = (
    Goal(
        "whole service, 16 clients, against the bare runtime",
        ">=", 85, "%", lambda run: run.value("service against bare", clients=16),
    ),
    Goal(
        "default CPU runtime, gate passed, against torch fp32 eager",
        ">=", 2.5, "times", _against_eager,
    ),
    Goal(
        "mean batch under 16 clients, of the network with the lesser one",
        ">=", 4, "patches", _least_mean_batch,
    ),
    Goal(
        "one lone patch (JPEG), added latency of the service over the bare runtime, median",
        "<=", 15, "ms", _added_ms,
    ),
)  # fmt: skip
