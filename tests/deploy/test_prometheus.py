"""The scrape configuration, the rules and the run book fit each other and the metrics."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.queries import metrics_of
from tests.paths import PROJECT

FOLDER = PROJECT / "deploy/prometheus"
RUN_BOOK = PROJECT / "docs/operations.md"


def rules(name: str) -> list[dict[str, Any]]:
    content = yaml.safe_load((FOLDER / "rules" / name).read_text())
    return [rule for group in content["groups"] for rule in group["rules"]]


ALERTS = rules("alerts.yaml")


def promtool(*arguments: str | Path) -> str:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool: apt-get install prometheus")
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration_and_its_rules_are_valid():
    assert "2 rule files found" in promtool("check", "config", FOLDER / "prometheus.yaml")


def test_the_rules_do_what_their_tests_say():
    assert "SUCCESS" in promtool("test", "rules", FOLDER / "tests/alerts.yaml")


def test_every_alert_is_tested_to_fire():
    tests = yaml.safe_load((FOLDER / "tests/alerts.yaml").read_text())["tests"]
    fired = {
        one["alertname"]
        for test in tests
        for one in test.get("alert_rule_test", [])
        if one["exp_alerts"]
    }
    assert fired == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("rule", ALERTS + rules("recording.yaml"), ids=str)
def test_every_metric_of_a_rule_exists(rule: dict[str, Any]):
    assert metrics_of(rule["expr"])


def test_every_recorded_metric_is_used():
    texts = [rule["expr"] for rule in ALERTS + rules("recording.yaml")]
    texts += [path.read_text() for path in (PROJECT / "deploy/grafana/dashboards").iterdir()]
    for rule in rules("recording.yaml"):
        assert any(rule["record"] in text for text in texts), rule["record"]


def test_every_alert_says_how_urgent_it_is_and_where_its_entry_is():
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert alert["annotations"]["runbook"] == f"docs/operations.md#{alert['alert'].lower()}"


def test_the_run_book_has_an_entry_for_each_alert_and_for_no_other():
    section = RUN_BOOK.read_text().partition("\n## Alerts\n")[2].partition("\n## ")[0]
    entries = re.findall(r"^### (\w+)$", section, re.MULTILINE)
    assert entries == [alert["alert"] for alert in ALERTS]


def test_the_run_books_links_lead_somewhere():
    text = RUN_BOOK.read_text()
    anchors = {
        re.sub(r"[^\w-]", "", title.lower().replace(" ", "-"))
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        assert (RUN_BOOK.parent / file).exists() if file else anchor in anchors, link
