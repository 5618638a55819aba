"""The dashboards are whole, and ask for what there is."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest
import yaml
from tests.deploy.queries import metrics_of
from tests.paths import PROJECT

FOLDER = PROJECT / "deploy/grafana"
DASHBOARDS = {
    path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "dashboards").iterdir())
}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    if panel["type"] != "row"
]
DATASOURCE = yaml.safe_load((FOLDER / "provisioning/datasources/prometheus.yaml").read_text())


def test_there_is_one_for_operators_and_one_for_the_encoders():
    assert sorted(DASHBOARDS) == ["encoders", "operators"]


@pytest.mark.parametrize("panel", PANELS)
def test_every_query_parses_and_asks_for_metrics_that_exist(panel: dict[str, Any]):
    assert panel["targets"]
    for target in panel["targets"]:
        assert metrics_of(target["expr"])
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references), "Grafana shows one query of each"


@pytest.mark.parametrize("panel", PANELS)
def test_legends_name_labels_that_the_query_keeps(panel: dict[str, Any]):
    for target in panel["targets"]:
        kept = re.match(r"(?:histogram_quantile\([\d.]+, )?sum by \(([^)]*)\)", target["expr"])
        if kept:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert named <= {label.strip() for label in kept[1].split(",")}


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_a_dashboard_hangs_together(dashboard: dict[str, Any]):
    source = DATASOURCE["datasources"][0]
    assert dashboard["uid"].startswith("slidekin-")
    ids = Counter(panel["id"] for panel in dashboard["panels"])
    assert max(ids.values()) == 1
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, f"{panel['title']} lies over another panel"
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
    for variable in dashboard["templating"]["list"]:
        metric = re.match(r"label_values\((\w+),", variable["query"]["query"])
        assert metric
        assert metrics_of(metric[1])
    for annotation in dashboard["annotations"]["list"]:
        assert metrics_of(annotation["expr"])


def test_the_provisioning_finds_the_dashboards():
    provider = yaml.safe_load((FOLDER / "provisioning/dashboards/slidekin.yaml").read_text())
    path = provider["providers"][0]["options"]["path"]
    assert path in (PROJECT / "docs/operations.md").read_text()
    scraped = yaml.safe_load((PROJECT / "deploy/prometheus/prometheus.yaml").read_text())
    interval = scraped["global"]["scrape_interval"]
    assert DATASOURCE["datasources"][0]["jsonData"]["timeInterval"] == interval
