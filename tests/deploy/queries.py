"""Queries of rules and dashboards, and the metrics that there are to ask for."""

from __future__ import annotations

from functools import cache

import promql_parser
import yaml
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from tests.paths import PROJECT

from slidekin_server.telemetry import Metrics

TRITON = frozenset(
    {
        "nv_cpu_memory_total_bytes",
        "nv_cpu_memory_used_bytes",
        "nv_cpu_utilization",
        "nv_inference_compute_infer_duration_us",
        "nv_inference_compute_input_duration_us",
        "nv_inference_compute_output_duration_us",
        "nv_inference_count",
        "nv_inference_exec_count",
        "nv_inference_pending_request_count",
        "nv_inference_queue_duration_us",
        "nv_inference_request_duration_us",
        "nv_inference_request_failure",
        "nv_inference_request_success",
        "nv_pinned_memory_pool_total_bytes",
        "nv_pinned_memory_pool_used_bytes",
    }
)
"""What the embedded server tells; tests/integration/triton compares."""
TRITON_WITH_GPU = frozenset(
    {"nv_gpu_memory_total_bytes", "nv_gpu_memory_used_bytes", "nv_gpu_utilization"}
)
"""From Triton's documentation: no machine with a GPU was at hand."""
_PROMETHEUS = frozenset({"up", "ALERTS"})


@cache
def known_metrics() -> frozenset[str]:
    """Names of all series that can be asked for."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    Metrics(registry)
    own = set()
    for family in registry.collect():
        suffixes = {
            "counter": ("_total",),
            "histogram": ("_bucket", "_sum", "_count"),
            "info": ("_info",),
        }.get(family.type, ("",))
        own |= {family.name + suffix for suffix in suffixes}
    recording = yaml.safe_load((PROJECT / "deploy/prometheus/rules/recording.yaml").read_text())
    recorded = {rule["record"] for group in recording["groups"] for rule in group["rules"]}
    return frozenset(own | recorded | TRITON | TRITON_WITH_GPU | _PROMETHEUS)


def metrics_of(query: str) -> set[str]:
    """Parse a query and return the metrics it asks for, all of which must exist."""
    # Grafana puts these in before it asks.
    query = query.replace("$instance", "all").replace("$__rate_interval", "5m")
    asked = _selected(promql_parser.parse(query))
    unknown = asked - known_metrics()
    assert not unknown, f"{unknown} in {query}"
    return asked


def _selected(expression: object) -> set[str]:
    """Walk the parsed query and collect its selectors' names."""
    if isinstance(expression, promql_parser.VectorSelector):
        return {expression.name} if expression.name else set()
    found: set[str] = set()
    for part in ("lhs", "rhs", "expr", "param", "vector_selector"):
        inner = getattr(expression, part, None)
        if inner is not None:
            found |= _selected(inner)
    for inner in getattr(expression, "args", None) or ():
        found |= _selected(inner)
    return found
