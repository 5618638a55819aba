"""`make load`, seconds instead of minutes: all of the road from a real service to the page.

Figures of seconds are worth nothing: what is looked at is that the loads were put on, that no call
ended otherwise than an overloaded service may end it, and that the page can be written.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.bench.goals import Run
from tests.load import report
from tests.load.goals import GOALS, every_load
from tests.load.plans import BESIDE_INGEST, BESIDE_SEARCHES, CODES, MIXED, SHORT, by_codes


@pytest.mark.timeout(240)
def test_a_service_is_driven_past_saturation_and_the_page_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    by_codes(tmp_path / "stack", SHORT)
    run = Run(json.loads(line) for line in capsys.readouterr().out.splitlines())
    for workload in (CODES.name, MIXED.name):
        steps = run.all("step", workload=workload)
        assert {line["phase"] for line in steps} == {"to saturation", "from saturation on"}
        assert sum(line["outcomes"].get("OK", 0) for line in steps) > 0
        assert run.value("goodput kept", workload=workload) is not None
    for fairness in (BESIDE_SEARCHES, BESIDE_INGEST):
        situations = {line["situation"] for line in run.all("quiet site", fairness=fairness)}
        assert situations == {"alone", "beside"}
    assert sum(line["calls"] for line in every_load(run)) > 100
    expected, told = (
        next(goal for goal in GOALS if goal.figure.startswith(words))
        for words in ("calls that ended otherwise", "refusals that say when")
    )
    assert expected.measured(run) == 0
    assert told.measured(run) in {None, 100}

    monkeypatch.setattr(report, "PLOTS", tmp_path)
    report.plot_goodput(run)
    report.plot_latency(run)
    report.plot_fairness(run)
    for part in (report.goals, report.saturation, report.outcomes, report.fairness):
        assert part(run).count("\n") >= 3
    assert {file.name for file in tmp_path.glob("*.svg")} == {
        "fairness.svg",
        "goodput.svg",
        "latency.svg",
    }
