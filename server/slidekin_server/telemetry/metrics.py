"""Every metric of the service, in one place.

Labels take their values from small sets that the operator knows, never from what a caller sends.
So no metric can grow without bound, and none can contain patient data.
"""

from __future__ import annotations

import contextlib
import enum
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info
from prometheus_client import start_http_server as _start_http_server

_NAMESPACE = "slidekin"

# From a search by codes (a few milliseconds) to a large slide through encoders without GPU.
_RPC_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
# From one patch in the index (0.1 ms) to one patch through encoders without GPU.
_STAGE_BUCKETS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1, 2.5, 5, 10, 30, 60,
)  # fmt: skip
_MESSAGE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)

ENCODER_STATES = ("starting", "ready", "unavailable", "canary_mismatch")


class Stage(enum.Enum):
    """A stage of a call whose time is measured."""

    ENCODE = "encode"
    """One patch through Triton, including the wait for its turn."""
    SEARCH = "search"
    """One patch through the index."""
    RANK = "rank"
    """The ranking of one query's slides."""
    STORE = "store"
    """One change of the store."""


class Metrics:
    """The metrics of one service, registered with one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace=_NAMESPACE, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, namespace=_NAMESPACE, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(
                name, text, labels, namespace=_NAMESPACE, registry=registry, buckets=buckets
            )

        self.rpcs = counter("rpcs", "Calls ended, by method and status code.", "method", "code")
        self.rpc_seconds = histogram(
            "rpc_duration_seconds", "Time from a call's start to its end.", _RPC_BUCKETS_S, "method"
        )
        self.rpcs_in_progress = gauge("rpcs_in_progress", "Calls that have not ended.", "method")
        self.stage_seconds = histogram(
            "stage_duration_seconds", "Time a stage of a call took.", _STAGE_BUCKETS_S, "stage"
        )
        self.searches = counter(
            "searches", "Searches answered, by mode asked for and short lists.", "mode", "short"
        )
        self.patches_searched = counter(
            "patches_searched", "Patches searched, by the mode that answered.", "mode"
        )
        self.patches_encoded = counter(
            "patches_encoded", "Patches sent to the encoders, by outcome.", "result"
        )
        self.patches_per_message = histogram(
            "patches_per_message", "Patches in one incoming message.", _MESSAGE_BUCKETS
        )
        self.encoder_in_flight = gauge(
            "encoder_in_flight", "Patches sent to Triton and not yet answered."
        )
        self.encoder_waiting = gauge("encoder_waiting", "Patches waiting for their turn at Triton.")
        self.encoder_state = Enum(
            "encoder_state",
            "State of the encoders, by the first digits of their model's fingerprint.",
            ["model"],
            states=ENCODER_STATES,
            namespace=_NAMESPACE,
            registry=registry,
        )
        self.canary_checks = counter(
            "canary_checks", "Canary checks, by the state they found.", "result"
        )
        self.admissions = counter(
            "admissions", "Calls that asked to be admitted, by what they were told.", "result"
        )
        self.calls_admitted = gauge(
            "calls_admitted", "Calls that were admitted and have not ended.", "kind"
        )
        self.patches_in_flight = gauge(
            "patches_in_flight", "Patches that have arrived and have no code yet.", "urgency"
        )
        self.images_in_flight_bytes = gauge(
            "images_in_flight_bytes", "Bytes of the images of these patches.", "urgency"
        )
        self.turns_waiting = gauge(
            "turns_waiting", "Pieces of work that wait for their turn.", "stage", "urgency"
        )
        self.turn_wait_seconds = histogram(
            "turn_wait_seconds",
            "Time that a piece of work waited for its turn.",
            _STAGE_BUCKETS_S,
            "stage",
            "urgency",
        )
        self.collections = gauge("collections", "Collections held.")
        self.slides = gauge("slides", "Slides held in all collections.")
        self.stored_slides = gauge(
            "stored_slides", "Slides of all collections as the store counts them, damaged ones too."
        )
        self.patches = gauge("patches", "Patches held in all collections.")
        self.damaged_slides = gauge(
            "damaged_slides", "Slides found damaged on disk when the index was loaded: not served."
        )
        self.snapshot_time = gauge(
            "last_snapshot_timestamp_seconds",
            "When the newest snapshot's copy was begun, in seconds since 1970; 0: there is none.",
        )
        self.ready = gauge("ready", "1 where health checks say that the service is ready, else 0.")
        self.disk_free = gauge(
            "store_disk_free_bytes", "Bytes that the store's file system has left for the service."
        )
        self.disk_size = gauge("store_disk_size_bytes", "Bytes of the store's file system.")
        self.certificate_expiry = gauge(
            "certificate_expiry_timestamp_seconds",
            "Until when a certificate in use is valid, in seconds since 1970.",
            "certificate",
        )
        self.audit_failing = gauge(
            "audit_failing", "1 while the audit log cannot be written, else 0."
        )
        self.index_versions = counter("index_versions", "Index versions made since the start.")
        self.log_failures = counter(
            "log_write_failures", "Lines that a log had to do without.", "log"
        )
        self.spans = counter(
            "spans", "Spans of traces, by whether the collector took them.", "result"
        )
        self._build = Info("build", "What is running.", namespace=_NAMESPACE, registry=registry)

    def set_build(self, version: str, fingerprint: str) -> None:
        """Set the service's version and the fingerprint of its active model at the start."""
        self._build.info({"version": version, "model_fingerprint": fingerprint})

    def watch(
        self, *, ready: Callable[[], bool], store: Path, stored_slides: Callable[[], int]
    ) -> None:
        """Read readiness, disk and store whenever the metrics are scraped.

        Args:
            ready: Whether the service is ready.
            store: Folder on the file system to report; NaN is reported if it cannot be read.
            stored_slides: Counts the store's slides; NaN is reported if it fails.
        """

        def count() -> float:
            try:
                return stored_slides()
            except Exception:  # noqa: BLE001  a failing store must not stop a scrape
                return math.nan

        def disk(tell: Callable[[os.statvfs_result], int]) -> Callable[[], float]:
            def look() -> float:
                try:
                    return tell(os.statvfs(store))
                except OSError:
                    return math.nan

            return look

        self.ready.set_function(ready)
        self.stored_slides.set_function(count)
        self.disk_free.set_function(disk(lambda state: state.f_bavail * state.f_frsize))
        self.disk_size.set_function(disk(lambda state: state.f_blocks * state.f_frsize))

    def observe_stage(self, stage: Stage, seconds: float, *, times: int = 1) -> None:
        """Record the time that a stage took, as often as it was done."""
        histogram = self.stage_seconds.labels(stage.value)
        for _ in range(times):
            histogram.observe(seconds)

    def waiting(self, stage: str, urgency: str) -> Waiting:
        """Return a measurement of a wait for a turn."""
        return Waiting(
            self.turns_waiting.labels(stage, urgency), self.turn_wait_seconds.labels(stage, urgency)
        )

    @contextlib.contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Measure a stage. A failed one is not counted: its time is not comparable."""
        start = time.perf_counter()
        yield
        self.observe_stage(stage, time.perf_counter() - start)


class Waiting:
    """A piece of work while it waits for its turn. It may end in another thread."""

    def __init__(self, waiting: Gauge, seconds: Histogram) -> None:
        self._waiting = waiting
        self._seconds = seconds
        self._began = 0.0

    def begin(self) -> None:
        """The wait begins."""
        self._began = time.perf_counter()
        self._waiting.inc()

    def end(self) -> None:
        """The wait ends."""
        self._waiting.dec()
        self._seconds.observe(time.perf_counter() - self._began)

    def __enter__(self) -> None:
        self.begin()

    def __exit__(self, *_: object) -> None:
        self.end()


class ExpositionError(OSError):
    """The metrics cannot be served at that address."""


class Exposition:
    """The metrics' HTTP endpoint, served by a thread."""

    def __init__(self, server: WSGIServer) -> None:
        self._server = server

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.server_port

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def start_exposition(registry: CollectorRegistry, *, host: str, port: int) -> Exposition:
    """Serve the metrics at ``http://host:port/metrics``.

    Args:
        registry: The metrics to serve.
        host: Address to listen on.
        port: TCP port; 0: a free one.

    Raises:
        ExpositionError: Listening there fails, for example because the port is in use.
    """
    try:
        server, _ = _start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise ExpositionError(
            f"metrics cannot be offered at {host}:{port} ({error.strerror}): "
            "change metrics.host or metrics.port, or free the port"
        ) from error
    return Exposition(server)
