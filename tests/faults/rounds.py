"""Fault rounds: several stores' lives side by side, and what came of them."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.life import Life, Report

ROUNDS_OF_A_LIFE = 17
"""A new store, then every point about once."""


def run(folder: Path, *, rounds: int, seed: int, side_by_side: int) -> Report:
    """Kill services, and judge what is left each time.

    Args:
        folder: For stores and histories, a folder for each life.
        rounds: How often.
        seed: Fixes what each client asks for and where the service dies. (The order in which
            threads get their turn is the machine's.)
        side_by_side: Lives at a time.
    """
    lives = [
        (number, min(ROUNDS_OF_A_LIFE, rounds - start))
        for number, start in enumerate(range(0, rounds, ROUNDS_OF_A_LIFE))
    ]

    def live(number: int, count: int) -> Report:
        name = f"{seed}/{number}"
        life = Life(folder / f"life-{number}", name)
        try:
            return life.run(count)
        except Exception as error:  # noqa: BLE001  told with all other faults
            life.report.faults.append(f"seed {name}: {type(error).__name__}: {error}")
            return life.report

    with ThreadPoolExecutor(side_by_side) as pool:
        reports = list(pool.map(lambda life: live(*life), lives))
    return Report(
        rounds=sum(report.rounds for report in reports),
        operations=sum(report.operations for report in reports),
        snapshots=sum(report.snapshots for report in reports),
        reindexes=sum(report.reindexes for report in reports),
        kills=sum((report.kills for report in reports), Counter()),
        missed=sum((report.missed for report in reports), Counter()),
        faults=[fault for report in reports for fault in report.faults],
    )
