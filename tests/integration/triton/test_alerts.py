"""A real Prometheus beside the whole stack: Triton goes, alerts fire; it comes back, they clear."""

from __future__ import annotations

import shutil
import urllib.parse
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.deploy.queries import TRITON
from tests.prometheus_process import firing, running_prometheus, until, value
from tests.service_process import ServiceProcess
from tests.triton_stack import running_triton

WATCHED = {"SlidekinDown", "SlidekinNotReady", "SlidekinCanaryWrong", "TritonDown"}


@pytest.mark.timeout(600)
def test_alerts_fire_when_triton_goes_and_clear_when_it_is_back(demo_bundle: Path, tmp_path: Path):
    if shutil.which("prometheus") is None:
        pytest.skip("no prometheus: apt-get install prometheus")
    with ExitStack() as first_life:
        triton = first_life.enter_context(running_triton(demo_bundle, tmp_path / "first"))
        overrides = {
            "model": {"bundle": str(demo_bundle), "allow_random_weights": True},
            "triton": {
                "url": triton.grpc_url, "canary_interval_s": 2.0, "retry_interval_s": 0.5,
            },
        }  # fmt: skip
        watched = urllib.parse.urlsplit(triton.metrics_url)
        folder = tmp_path / "service"
        with (
            ServiceProcess(folder, overrides, codes_only=False) as service,
            running_prometheus(
                tmp_path, urllib.parse.urlsplit(service.metrics_url).netloc, watched.netloc
            ) as ask,
        ):
            until(lambda: value(ask, "slidekin_ready") == 1)
            until(lambda: value(ask, 'up{job="triton"}') == 1)
            until(lambda: not WATCHED & firing(ask))
            for metric in TRITON:
                assert value(ask, f"count({metric})"), metric

            first_life.close()
            until(lambda: {"TritonDown", "SlidekinNotReady"} <= firing(ask))
            assert not {"SlidekinDown", "SlidekinCanaryWrong"} & firing(ask)

            ports = (
                f"--grpc-port={triton.grpc_url.rpartition(':')[2]}",
                f"--metrics-port={watched.port}",
            )
            with running_triton(demo_bundle, tmp_path / "second", *ports):
                until(lambda: not WATCHED & firing(ask))
                assert value(ask, "slidekin_ready") == 1
