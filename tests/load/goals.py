"""What must hold under load, and which line of a run shows it."""

from __future__ import annotations

from collections.abc import Callable

from tests.bench.goals import Goal, Line, Run
from tests.load.measure import OVERLOAD
from tests.load.plans import CODES, FLOODS, IMAGES, MIXED

WORKLOADS = tuple(workload.name for workload in (CODES, MIXED, IMAGES))
_EXPECTED = ("OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "UNAVAILABLE", "STATUS_LOST")
"""Codes that an overloaded service may answer with; the last is the client library's."""


def kept(workload: str) -> Callable[[Run], float | None]:
    """Return how to read the goodput kept past saturation."""
    return lambda run: run.value("goodput kept", workload=workload, factor=OVERLOAD)


def answered(fairness: str) -> Callable[[Run], float | None]:
    """Return how to read the share of the quiet site's calls that were answered in time."""
    return lambda run: run.value("quiet site", fairness=fairness, situation="beside")


def slower(fairness: str) -> Callable[[Run], float | None]:
    """Return how to read how much longer the quiet site waits."""
    return lambda run: run.value("quiet site slower", fairness=fairness, quantile="p50")


def every_load(run: Run) -> list[Line]:
    """Return every line that tells outcomes of calls."""
    return [line for line in run.lines if "outcomes" in line]


def _refused_with_retry(run: Run) -> float | None:
    refused = sum(line["refused"] for line in every_load(run))
    told = sum(line["refused_with_retry"] for line in every_load(run))
    return 100 * told / refused if refused else None


def _unexpected(run: Run) -> float | None:
    return float(
        sum(
            count
            for line in every_load(run)
            for outcome, count in line["outcomes"].items()
            if outcome.split()[0] not in _EXPECTED
        )
    )


def _valid(run: Run) -> float | None:
    marks = [line["valid"] for line in run.lines if "valid" in line]
    return 100 * sum(marks) / len(marks) if marks else None


GOALS = (
    *(
        Goal(
            f"{name}: goodput at twice the saturating rate, against the greatest",
            ">=", 90, "%", kept(name),
        )
        for name in WORKLOADS
    ),
    Goal("refusals that say when to come again (RetryInfo)", ">=", 100, "%", _refused_with_retry),
    Goal(
        "calls that ended otherwise than answered, refused or too late",
        "<=", 0, "calls", _unexpected,
    ),
    *(
        Goal(f"{name}: the quiet site's calls answered in time", ">=", 99, "%", answered(name))
        for name in FLOODS
    ),
    *(
        Goal(f"{name}: median latency against alone", "<=", 3, "times", slower(name))
        for name in FLOODS
    ),
    Goal("loads whose generator started its calls when they were due", ">=", 100, "%", _valid),
)  # fmt: skip
