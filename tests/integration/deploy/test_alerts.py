"""A real Prometheus beside a real service: its rules load, an alert fires, and clears again."""

from __future__ import annotations

import json
import re
import shutil
import urllib.parse
from pathlib import Path

import pytest
from tests.deploy.queries import metrics_of
from tests.paths import PROJECT
from tests.prometheus_process import firing, running_prometheus, until, value
from tests.service_process import ServiceProcess


def test_an_alert_fires_when_the_service_dies_and_clears_when_it_is_back(tmp_path: Path):
    if shutil.which("prometheus") is None:
        pytest.skip("no prometheus: apt-get install prometheus")
    service = ServiceProcess(tmp_path / "service").start()
    port = urllib.parse.urlsplit(service.metrics_url).port
    with service, running_prometheus(tmp_path, f"127.0.0.1:{port}") as ask:
        until(lambda: value(ask, "slidekin_ready") == 1)
        assert value(ask, "slidekin_store_disk_free_bytes") > 0
        until(lambda: "SlidekinDown" not in firing(ask))
        told = set(ask("metadata")["data"])
        for query in dashboard_queries():
            assert ask("query", query=query)["status"] == "success"
            for name in metrics_of(query):
                if name.startswith(("slidekin_", "process_")):
                    assert {name, re.sub("_(bucket|sum|count|total)$", "", name)} & told, name

        service.kill()
        until(lambda: "SlidekinDown" in firing(ask))

        service.overrides = {"metrics": {"port": port}}
        service.start()
        until(lambda: "SlidekinDown" not in firing(ask))
        # No Triton runs here, and that is told all the while.
        assert "TritonDown" in firing(ask)


def dashboard_queries() -> list[str]:
    dashboards = (PROJECT / "deploy/grafana/dashboards").iterdir()
    panels = [panel for path in dashboards for panel in json.loads(path.read_text())["panels"]]
    targets = [target for panel in panels for target in panel.get("targets", [])]
    assert targets
    return [target["expr"].replace("$instance", ".*") for target in targets]
