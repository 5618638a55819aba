"""The composition root: builds the service from its settings, runs it, takes it down again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from grpc import aio
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from slidekin_server.access.setup import open_access
from slidekin_server.admission import Bounds, Gate, InFlight, Turns
from slidekin_server.api.interceptors.admission import Admission
from slidekin_server.api.patience import Patience
from slidekin_server.api.readiness import Readiness
from slidekin_server.api.server import SERVICES, Parts, build_server, listen
from slidekin_server.archive.archive import Archive
from slidekin_server.archive.backup import Backup
from slidekin_server.archive.ingest import SlideIngest
from slidekin_server.archive.options import DEFAULT, Profile, profiles
from slidekin_server.archive.pipeline import Pipeline
from slidekin_server.archive.reindex import Reindexer
from slidekin_server.archive.search import Searcher, SearchSettings
from slidekin_server.archive.served import ServedModel, ServedModels, encoders_ready
from slidekin_server.archive.workers import Workers
from slidekin_server.bundle import ModelBundle, load_bundle
from slidekin_server.config import AdmissionSettings, Settings, dial_host
from slidekin_server.encoding import Encoder, EncoderStatus, ImageLimits
from slidekin_server.index import GuidedParameters
from slidekin_server.model_store import ActiveModel, load_store
from slidekin_server.storage import Snapshots, open_store, with_advice
from slidekin_server.telemetry import (
    Exposition,
    Metrics,
    StartSpan,
    TraceExport,
    count_lost_lines,
    exported_spans,
    get_logger,
    start_exposition,
    start_unrecorded,
)

_LAST_WORDS_S = 1.0

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How one process runs the service; not part of its settings."""

    codes_only: bool = False
    """Serve without a model: patches come as ready-made codes."""
    state_file: Path | None = None
    """Where to say, once listening, which ports were taken; removed at the end."""
    lifeline: bool = False
    """Stop when standard input reaches its end, so that the service ends with its parent."""


def service_version() -> str:
    """Return the version of the installed package."""
    try:
        return version("slidekin")
    except PackageNotFoundError:
        return "0+source"


async def run(settings: Settings, options: RunOptions) -> None:
    """Run the service until it is told to stop.

    Raises:
        AccessSetupError: Certificates or API keys cannot be used.
        BundleError: The model bundle cannot be used.
        StorageError: The store cannot be opened or read.
        ExpositionError, ListenError: A port cannot be had.
        TracingError: Traces cannot be made as configured.
    """
    stop = asyncio.Event()
    _stop_on_signals(stop)
    if options.lifeline:
        _stop_at_end_of_input(stop)
    async with _service(settings, options) as service:
        await service.run_until(stop)


class _Service:
    """A service that listens."""

    def __init__(self, parts: Parts, server: aio.Server, settings: Settings) -> None:
        self._parts = parts
        self._server = server
        self._settings = settings

    async def run_until(self, stop: asyncio.Event) -> None:
        """Load the index, then serve until told to stop."""
        loading = asyncio.create_task(self._load())
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if loading in done:
                loading.result()
                await stopping
        finally:
            _log.info("stopping")
            stopping.cancel()
            await self._drain()
            # A thread cannot be interrupted: what it builds is thrown away.
            await asyncio.wait({loading})

    async def _drain(self) -> None:
        """Let others take over, then let calls end, then end them."""
        parts, settings = self._parts, self._settings
        was_ready = parts.readiness.ready
        await parts.readiness.stop()
        if was_ready:
            await asyncio.sleep(settings.shutdown_notice_s)
        parts.admission.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.shutdown_grace_s):
                await parts.admission.ended()
        parts.admission.end_calls()
        # What was just ended is still to be sent; besides that, only watchers of health are left.
        await self._server.stop(_LAST_WORDS_S)

    async def _load(self) -> None:
        parts = self._parts
        await asyncio.to_thread(self._build)
        await parts.readiness.index_loaded()
        views = parts.archive.views()
        _log.info(
            "index loaded",
            collections=len(views),
            slides=sum(len(view.facts) for view in views),
            patches=sum(view.facts.patch_count for view in views),
        )

    def _build(self) -> None:
        parts = self._parts
        with with_advice(self._settings.storage.path, parts.backup.snapshots):
            parts.archive.load(threads=self._settings.search.thread_count)
        _collect_garbage_often()


@contextlib.asynccontextmanager
async def _service(settings: Settings, options: RunOptions) -> AsyncIterator[_Service]:
    """Build everything in order, and take it down in the opposite one."""
    async with contextlib.AsyncExitStack() as stack:
        bundles: tuple[ModelBundle, ...] = ()
        active: Callable[[], str] = str
        if not options.codes_only:
            bundles = await asyncio.to_thread(_bundles, settings)
            active = ActiveModel(settings.model.store, bundles)
        snapshots = Snapshots(settings.storage.snapshots_path)
        store = await asyncio.to_thread(
            open_store,
            settings.storage.path,
            snapshots,
            synchronous=settings.storage.synchronous,
        )
        stack.callback(store.close)
        registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        metrics = Metrics(registry)
        metrics.set_build(service_version(), active())
        access = await stack.enter_async_context(open_access(settings, metrics))
        exposition = start_exposition(
            registry, host=settings.metrics.host, port=settings.metrics.port
        )
        stack.callback(exposition.close)
        start_span = stack.enter_context(_spans(settings, metrics))
        bulk_every = settings.admission.bulk_every
        workers = Workers(settings.search.thread_count, bulk_every=bulk_every, metrics=metrics)
        stack.callback(workers.close)
        in_flight, gate = _admission(settings.admission, settings.search.thread_count, metrics)
        pipeline = Pipeline(settings.admission.max_patches_in_flight_per_stream, in_flight)
        readiness = Readiness(SERVICES, with_encoders=bool(bundles))
        metrics.watch(
            ready=lambda: readiness.ready,
            store=settings.storage.path,
            stored_slides=store.count_slides,
        )
        count_lost_lines(metrics.log_failures.labels("service").inc)
        await readiness.start()
        models = ServedModels(await _served(settings, bundles, metrics, readiness, stack), active)
        archive = Archive(store, metrics)
        parts = Parts(
            admission=Admission(gate),
            patience=Patience(settings.admission.idle_timeout_s),
            archive=archive,
            backup=Backup(store, snapshots, metrics),
            ingest=SlideIngest(archive, workers, metrics, pipeline),
            reindexer=Reindexer(archive.shelf),
            searcher=Searcher(archive, workers, metrics, pipeline, _search_settings(settings)),
            workers=workers,
            metrics=metrics,
            start_span=start_span,
            readiness=readiness,
            limits=settings.limits,
            profiles=profiles(_default_profile(settings)),
            version=service_version(),
            models=models,
            identifies=access.identifies,
            audit=access.audit,
        )
        server = build_server(parts, settings.listen, reflected=settings.reflection)
        port = listen(
            server,
            host=settings.listen.host,
            port=settings.listen.port,
            credentials=access.credentials,
        )
        await server.start()
        _log.info("listening", host=settings.listen.host, port=port, pid=os.getpid())
        if options.state_file is not None:
            _write_state(options.state_file, settings, port, exposition)
            stack.callback(options.state_file.unlink, missing_ok=True)
        yield _Service(parts, server, settings)


def _spans(settings: Settings, metrics: Metrics) -> contextlib.AbstractContextManager[StartSpan]:
    """Send spans where the settings name a collector."""
    tracing = settings.tracing
    if tracing.endpoint is None:
        return contextlib.nullcontext(start_unrecorded)
    export = TraceExport(
        tracing.endpoint,
        sampling_ratio=tracing.sampling_ratio,
        version=service_version(),
        ca_file=tracing.ca_file,
    )
    return exported_spans(export, metrics)


def _admission(
    settings: AdmissionSettings, search_threads: int, metrics: Metrics
) -> tuple[InFlight, Gate]:
    """Return what bounds the patches, and what admits the calls."""
    in_flight = InFlight(
        Bounds(settings.max_patches_in_flight, settings.max_patches_in_flight_each),
        Bounds(settings.max_image_bytes_in_flight, settings.max_image_bytes_in_flight_each),
        metrics,
    )
    gate = Gate(
        streams=Bounds(settings.max_streams, settings.max_streams_each),
        calls=Bounds(settings.max_calls, settings.max_calls_each),
        in_flight=in_flight,
        search_threads=search_threads,
        max_wait_s=settings.max_wait_s,
        metrics=metrics,
    )
    return in_flight, gate


def _bundles(settings: Settings) -> tuple[ModelBundle, ...]:
    model = settings.model
    if model.store is not None:
        return load_store(model.store, allow_random_weights=model.allow_random_weights)
    return (load_bundle(model.bundle, allow_random_weights=model.allow_random_weights),)


async def _served(
    settings: Settings,
    bundles: tuple[ModelBundle, ...],
    metrics: Metrics,
    readiness: Readiness,
    stack: contextlib.AsyncExitStack,
) -> list[ServedModel]:
    """Start the encoders of every model; the stack closes them."""
    told: set[asyncio.Task[None]] = set()
    served: list[ServedModel] = []

    def tell(_: EncoderStatus) -> None:
        task = asyncio.create_task(readiness.encoders(ready=encoders_ready(served)))
        # The event loop keeps only weak references to tasks.
        told.add(task)
        task.add_done_callback(told.discard)

    turns = Turns(
        "encoder",
        settings.triton.max_in_flight,
        bulk_every=settings.admission.bulk_every,
        metrics=metrics,
    )
    for bundle in bundles:
        encoder = Encoder(
            bundle,
            url=settings.triton.url,
            turns=turns,
            timeout_s=settings.triton.timeout_s,
            canary_interval_s=settings.triton.canary_interval_s,
            retry_interval_s=settings.triton.retry_interval_s,
            limits=ImageLimits(
                max_bytes=settings.limits.max_image_bytes,
                max_pixels=settings.limits.max_image_pixels,
            ),
            metrics=metrics,
            on_change=tell,
        )
        served.append(ServedModel(bundle, encoder))
        stack.push_async_callback(encoder.close)
        await encoder.start()
    return served


def _search_settings(settings: Settings) -> SearchSettings:
    default = settings.search.default_profile
    return SearchSettings(
        scan_threads=settings.search.thread_count,
        min_hits=default.min_hits,
        exact_limit=default.exact_limit,
    )


def _default_profile(settings: Settings) -> Profile:
    default = settings.search.default_profile
    return replace(
        DEFAULT,
        guided=GuidedParameters(
            C=default.seed_spacing,
            T=default.seeds_per_side,
            successor_steps=default.successor_steps,
            predecessor_steps=default.predecessor_steps,
            include_seed_key=default.include_seed_key,
        ),
    )


def _write_state(file: Path, settings: Settings, port: int, exposition: Exposition) -> None:
    """Say in one step where the service is to be found."""
    state = {
        "pid": os.getpid(),
        "grpc_url": f"{dial_host(settings.listen.host)}:{port}",
        "metrics_url": f"http://{dial_host(settings.metrics.host)}:{exposition.port}/metrics",
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(json.dumps(state) + "\n", encoding="utf-8")
    draft.replace(file)


def _collect_garbage_often() -> None:
    """Leave what was loaded out of garbage collection from now on.

    Python collects all garbage only once what is new amounts to a quarter of what there is, which
    beside all that was loaded takes long. A call that ends leaves no circle that we know of
    (`api.interceptors.layers` breaks it), but one of a library's, of errors and frames, would hold
    versions of an index that nobody reads any more.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # notes how little there is now


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _stop_at_end_of_input(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def wait() -> None:
        # Not through sys.stdin: its lock, held while this waits, would stop the interpreter's end.
        while os.read(0, 4096):
            pass
        with contextlib.suppress(RuntimeError):  # the loop has ended before its parent did
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
