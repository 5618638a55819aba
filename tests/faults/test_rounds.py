"""A service killed anywhere keeps its promises: a few of the rounds of ``make faults``."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.faults.rounds import run

ROUNDS = 12


@pytest.mark.timeout(180)
def test_what_was_acknowledged_survives_being_killed_anywhere(tmp_path: Path):
    report = run(tmp_path, rounds=ROUNDS, seed=20260101, side_by_side=1)
    assert report.rounds == ROUNDS
    assert report.operations > 0
    assert sum(report.kills.values()) >= ROUNDS
    assert not report.faults, "\n".join(report.faults)
