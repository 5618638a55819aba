"""Metrics: proper names, bounded labels, offered over HTTP."""

from __future__ import annotations

import math
import re
import shutil
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

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


def test_no_label_can_hold_what_a_caller_sends(registry: CollectorRegistry, metrics: Metrics):
    # The model is the operator's choice: a label for each bundle that is served.
    allowed = {"code", "method", "mode", "model", "result", "short", "stage"}
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
    metrics.watch(ready=lambda: ready, store=folder)
    free = "slidekin_store_disk_free_bytes"
    assert registry.get_sample_value("slidekin_ready") == 0
    assert math.isnan(registry.get_sample_value(free)), "a folder that is gone stops no scrape"
    folder.mkdir()
    ready = True
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
