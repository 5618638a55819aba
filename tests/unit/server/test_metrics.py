"""Metrics: proper names, bounded labels, offered over HTTP."""

from __future__ import annotations

import math
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Info, generate_latest

from slidekin_server.encoding import EncoderState
from slidekin_server.telemetry import (
    ENCODER_STATES,
    ExpositionError,
    Metrics,
    Stage,
    start_exposition,
)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


def test_names_follow_the_conventions(registry: CollectorRegistry, metrics: Metrics):
    families = list(registry.collect())
    assert len(families) > 15
    for family in families:
        assert re.fullmatch(r"slidekin_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        if "duration" in family.name:
            assert family.name.endswith("_seconds")


_BASE_UNITS = ("seconds", "bytes", "ratio")
_OTHER_UNITS = (
    "milliseconds", "microseconds", "minutes", "hours", "days", "ms", "kilobytes", "megabytes",
    "mib", "percent", "pixels_per",
)  # fmt: skip


def test_units_are_base_units_at_the_names_end_and_types_are_not_in_names(
    registry: CollectorRegistry, metrics: Metrics
):
    for family in registry.collect():
        parts = family.name.split("_")
        assert not set(parts) & {*_OTHER_UNITS, "counter", "gauge", "histogram", "count", "sum"}
        for unit in _BASE_UNITS:
            if unit in parts:
                assert parts[-1] == unit, family.name
        # The client adds `_total` to what counts: none says it twice, and nothing else says it.
        assert not family.name.endswith("_total")
        assert family.documentation[0].isupper() or family.documentation[0].isdigit()


def test_promtool_finds_nothing_to_say(registry: CollectorRegistry, metrics: Metrics):
    if shutil.which("promtool") is None:
        pytest.skip("no promtool: apt-get install prometheus")
    # A metric with labels shows only once it has a value.
    for value in vars(metrics).values():
        if value._labelnames and not isinstance(value, Info):
            labels = dict.fromkeys(value._labelnames, "x")
            value.labels(**labels)
    metrics.set_build("1.2", "ab")
    told = generate_latest(registry)
    assert told.count(b"# HELP slidekin_") >= len(vars(metrics))
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=told, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_no_label_can_hold_what_a_caller_sends(registry: CollectorRegistry, metrics: Metrics):
    # The model is the operator's choice: a label for each bundle that is served.
    allowed = {
        "certificate", "code", "kind", "log", "method", "mode", "model", "result", "short",
        "stage", "urgency",
    }  # fmt: skip
    for value in vars(metrics).values():
        assert set(value._labelnames) <= allowed


def test_a_stage_is_timed_and_a_failed_one_is_not(registry: CollectorRegistry, metrics: Metrics):
    with metrics.stage(Stage.RANK):
        pass
    with pytest.raises(ZeroDivisionError), metrics.stage(Stage.RANK):
        raise ZeroDivisionError
    name = "slidekin_stage_duration_seconds_count"
    assert registry.get_sample_value(name, {"stage": "rank"}) == 1


def test_the_encoders_states_are_those_of_the_metric():
    assert tuple(state.value for state in EncoderState) == ENCODER_STATES


def test_readiness_and_disk_are_those_of_the_moment(
    registry: CollectorRegistry, metrics: Metrics, tmp_path: Path
):
    ready = False
    folder = tmp_path / "store"
    stored: list[int] = []
    metrics.watch(ready=lambda: ready, store=folder, stored_slides=lambda: stored[0])
    free = "slidekin_store_disk_free_bytes"
    assert registry.get_sample_value("slidekin_ready") == 0
    assert math.isnan(registry.get_sample_value(free)), "a folder that is gone stops no scrape"
    assert math.isnan(registry.get_sample_value("slidekin_stored_slides")), "nor does a store"
    folder.mkdir()
    ready = True
    stored.append(3)
    assert registry.get_sample_value("slidekin_stored_slides") == 3
    assert registry.get_sample_value("slidekin_ready") == 1
    assert 0 < registry.get_sample_value(free) < shutil.disk_usage(folder).total
    size = registry.get_sample_value("slidekin_store_disk_size_bytes")
    assert size == shutil.disk_usage(folder).total


def test_metrics_are_offered_over_http_until_closed(registry: CollectorRegistry, metrics: Metrics):
    metrics.set_build("1.2", "ab")
    metrics.rpcs.labels("/slidekin.v1.SearchService/SearchSlide", "OK").inc()
    exposition = start_exposition(registry, host="127.0.0.1", port=0)
    url = f"http://127.0.0.1:{exposition.port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    exposition.close()
    assert 'slidekin_build_info{model_fingerprint="ab",version="1.2"} 1.0' in text
    assert 'slidekin_rpcs_total{code="OK",method="/slidekin.v1.SearchService/SearchSlide"}' in text
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=10)


def test_a_taken_port_is_named_with_its_cure(registry: CollectorRegistry):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ExpositionError, match=rf"127\.0\.0\.1:{port}.*metrics\.port"):
            start_exposition(registry, host="127.0.0.1", port=port)
