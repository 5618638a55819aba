"""The life of one store: killed again and again, looked at after each death."""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
from tests.faults.content import content, fingerprint, generation_of
from tests.faults.history import History
from tests.faults.model import GENERATION, Model, Version
from tests.faults.traffic import Traffic, snapshot_span
from tests.service_calls import Calls, slide_id
from tests.service_process import ServiceProcess

from slidekin.v1 import collections_pb2, slides_pb2
from slidekin_server.failpoints import VARIABLE, Failpoint
from slidekin_server.storage import (
    SqliteStore,
    StorageError,
    check_snapshot,
    drafted_collection,
    restore_snapshot,
)
from slidekin_server.values import PatchCodes

ANY_MOMENT = "any-moment"
"""Not at a named point, but whenever it happens."""
_TRAFFIC_S = 4.0
"""A point that was not come by until then is not waited for."""
_START: frozenset[str] = frozenset({Failpoint.STORE_OPENED.value, Failpoint.INDEX_LOADING.value})
_SNAPSHOT = frozenset(point.value for point in Failpoint if point.value.startswith("snapshot."))
_REINDEX = frozenset({Failpoint.REINDEX_SWAPPING.value})
_FIRST = Failpoint.STORE_CREATED.value
_PLAN = (
    ANY_MOMENT, ANY_MOMENT, *sorted(_START), *sorted(_SNAPSHOT),
    *(p.value for p in Failpoint if p.value.startswith(("store.", "archive.", "reindex."))),
)  # fmt: skip


@dataclass
class Report:
    """What became of the rounds of one life."""

    rounds: int = 0
    operations: int = 0
    snapshots: int = 0
    reindexes: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    """By the point at which the service died."""
    missed: Counter[str] = field(default_factory=Counter)
    """Points that were not come by in time: killed at any moment instead."""
    faults: list[str] = field(default_factory=list)


class Life:
    """One store and its service."""

    def __init__(self, folder: Path, seed: str) -> None:
        self._folder = folder
        self._seed = seed
        self._chance = random.Random(seed)
        self._model = Model()
        self._model.settle({GENERATION: 0})
        self._versions = itertools.count(1)
        self._asked: set[int] = set()
        self._generation = 0
        self._history = History(folder / "history.jsonl")
        self._service = ServiceProcess(folder)
        self._plan: list[str] = []
        self.report = Report()

    def run(self, rounds: int) -> Report:
        """Kill the service so many times."""
        try:
            with self._service_gone_at_the_end():
                for number in range(rounds):
                    self._round(number)
                self._service.environment = {}
                self._start(None)
                self._look("after all rounds")
        finally:
            self._history.close()
        return self.report

    @contextlib.contextmanager
    def _service_gone_at_the_end(self):
        try:
            yield
        finally:
            if self._service.process is not None:
                self._service.kill()

    def _round(self, number: int) -> None:
        point = _FIRST if number == 0 else self._next_point()
        count = 1
        if point in _START and point == Failpoint.INDEX_LOADING.value:
            count = self._chance.randint(1, 6)
        elif point not in {ANY_MOMENT, _FIRST, *_START, *_SNAPSHOT, *_REINDEX}:
            count = self._chance.randint(1, 12)
        where = f"seed {self._seed}, round {number}, {point}:{count}"
        self._history.note("round", number=number, point=point, count=count)
        armed = point != ANY_MOMENT
        self._service.environment = {VARIABLE: f"{point}:{count}"} if armed else {}
        self.report.rounds += 1
        if not self._start(point if armed else None):
            self.report.kills[point] += 1
            self._service.environment = {}
            self._start(None)
        self._look(where)
        dead_by_point = self._work(number, point, where)
        self.report.kills[point if dead_by_point else ANY_MOMENT] += 1
        if armed and not dead_by_point and self._service.environment:
            self.report.missed[point] += 1

    def _next_point(self) -> str:
        """Every point once, in an order of chance, before any comes again."""
        if not self._plan:
            self._plan = self._chance.sample(_PLAN, len(_PLAN))
        return self._plan.pop()

    def _start(self, point: str | None) -> bool:
        """Start the service; False where it died of its failpoint on the way."""
        try:
            self._service.start()
        except (RuntimeError, grpc.RpcError):
            process = self._service.process
            assert process is not None
            died_of = process.wait(60)
            self._service.kill()  # dead already: this only tidies up
            if point is None or died_of != -signal.SIGKILL:
                log = self._service.log.read_text(encoding="utf-8")[-4000:]
                raise AssertionError(f"the service ended with {died_of}:\n{log}") from None
            return False
        return True

    def _work(self, number: int, point: str, where: str) -> bool:
        """Have clients at work until the service dies; True where it did so by itself."""
        process = self._service.process
        assert process is not None
        with self._service.channel() as channel:
            traffic = Traffic(
                channel,
                self._model,
                self._history,
                seed=f"{self._seed}/{number}",
                new_version=self._new_version,
                snapshots=point in _SNAPSHOT or self._chance.random() < 0.2,
                reindexes=point in _REINDEX or self._chance.random() < 0.4,
                generation=self._generation,
            )
            traffic.start()
            patience_s = _TRAFFIC_S
            if point in {ANY_MOMENT, _FIRST, *_START}:
                patience_s = self._chance.uniform(0.05, 0.8)
            died = _ended(process, patience_s)
            self._service.kill()
            code = process.wait(60)
            traffic.join()
        if code != -signal.SIGKILL:
            self._fault(f"{where}: the service ended by itself with {code}")
        self._history.note("dead", by_itself=died)
        self.report.operations += traffic.operations
        for fault in traffic.faults:
            self._fault(f"{where}: {fault}")
        self._judge_snapshots(traffic, where)
        return died

    def _new_version(self) -> int:
        version = next(self._versions)
        self._asked.add(version)
        return version

    def _fault(self, fault: str) -> None:
        self._history.note("fault", what=fault)
        self.report.faults.append(fault)

    def _look(self, where: str) -> None:
        """Read everything after a start, and judge it."""
        with self._service.channel() as channel:
            calls = Calls(channel, fingerprint=fingerprint(0))
            if not any(name == calls.parent for name in self._collections(calls)):
                calls.create()
            calls.fingerprint = calls.get().model_fingerprint
            generation = generation_of(calls.fingerprint)
            found = self._read(calls, generation, where)
            if sorted(found) != sorted(calls.held()):
                self._fault(f"{where}: the list of slides is not that of the export")
            if not self._draft_fits(calls, len(found)):
                self._fault(f"{where}: the reindex under way counts other slides than there are")
            now = self._model.tick()
            for fault in self._model.judge({**found, GENERATION: generation}, now, now):
                self._fault(f"{where}: {fault}")
            self._history.note("looked", found=found, generation=generation)
            self._model.settle({**found, GENERATION: generation})
            self.report.reindexes += generation - self._generation
            self._generation = generation
            for slide in self._chance.sample(sorted(found), min(3, len(found))):
                answer = calls.search(content(_version(found, slide), generation), k=3)
                # Behind the best come others, to make up the number.
                if answer.slides[:1] != [slide]:
                    self._fault(f"{where}: a search for {slide} finds {answer.slides}")
            self._look_for_remains(found, where)

    def _collections(self, calls: Calls) -> list[str]:
        response = calls.collections.ListCollections(collections_pb2.ListCollectionsRequest())
        return [collection.name for collection in response.collections]

    def _read(self, calls: Calls, generation: int, where: str) -> dict[str, Version]:
        """Read every patch of every slide, and compare it with what was sent."""
        found: dict[str, Version] = {}
        request = slides_pb2.ExportSlidesRequest(parent=calls.parent)
        for export in calls.slides.ExportSlides(request, timeout=60):
            slide = slide_id(export.slide.name)
            found[slide] = int(export.slide.label)
            patches = export.patches.patches
            held = PatchCodes(
                np.array([patch.code.key for patch in patches], np.int64),
                np.array([list(patch.code.texture) for patch in patches], np.uint8),
                np.array([(patch.x_px, patch.y_px) for patch in patches], np.int32),
            )
            if not _equal(held, content(int(export.slide.label), generation)):
                self._fault(f"{where}: {slide} is half there")
            if export.model_fingerprint != calls.fingerprint:
                self._fault(f"{where}: {slide} has the codes of another model")
            if export.slide.patch_count != len(patches):
                self._fault(f"{where}: {slide} counts its patches wrong")
        return found

    def _draft_fits(self, calls: Calls, slides: int) -> bool:
        """Whether each slide is encoded anew or still to do, where a reindex is under way."""
        collection = calls.get()
        if not collection.reindex_model_fingerprint:
            return True
        request = collections_pb2.GetReindexRequest(name=calls.parent)
        reindex = calls.collections.GetReindex(request, timeout=60).reindex
        return bool(reindex.done_slide_count + reindex.pending_slide_count == slides)

    def _look_for_remains(self, found: Mapping[str, Version], where: str) -> None:
        """Of what is gone, or never came to be, no byte may be left in the log."""
        gone = self._asked - set(found.values())
        files = {file.name: file.read_bytes() for file in (self._folder / "store").glob("*-wal")}
        # As it was encoded, and as a reindex under way may have encoded it anew.
        generations = (self._generation, self._generation + 1)
        for version, generation in itertools.product(sorted(gone), generations):
            texture = content(version, generation).textures[0].tobytes()
            for name, held in files.items():
                if texture in held:
                    self._fault(
                        f"{where}: bytes of version {version}, which is gone, are in {name} at "
                        f"{held.index(texture)}"
                    )
        self._asked -= gone

    def _judge_snapshots(self, traffic: Traffic, where: str) -> None:
        """Every snapshot that has a name is whole, and holds what could be held at its time."""
        folder = self._folder / "store-snapshots"
        names = {entry.name for entry in folder.glob("[!.]*") if entry.is_dir()}
        for name in sorted(set(traffic.snapshots) - names):
            self._fault(f"{where}: acknowledged snapshot {name} is lost")
        for name in sorted(names):
            span = snapshot_span(traffic, name)
            if span is None:
                self._fault(f"{where}: nobody asked for snapshot {name}")
                continue
            try:
                check_snapshot(folder / name)
                found = _restored(folder / name, self._folder / "restored")
            except StorageError as error:
                self._fault(f"{where}: {error}")
                continue
            for fault in self._model.judge(found, *span):
                self._fault(f"{where}: snapshot {name}: {fault}")
            self.report.snapshots += 1
            shutil.rmtree(folder / name)


def _ended(process, patience_s: float) -> bool:
    """Whether a process ends within so many seconds."""
    deadline = time.monotonic() + patience_s
    gone = threading.Event()
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return True
        gone.wait(0.01)
    return False


def _restored(snapshot: Path, folder: Path) -> dict[str, Version]:
    """What a snapshot holds once restored, every patch compared."""
    restore_snapshot(snapshot, folder)
    found: dict[str, Version] = {}
    with SqliteStore.open(folder) as store:
        for record in store.list_collections():
            generation = generation_of(record.fingerprint)
            is_draft = drafted_collection(record.name) is not None
            for slide in store.iter_slides(record.name):
                version = int(slide.record.facts.label)
                assert _equal(slide.codes, content(version, generation)), (
                    f"version {version} is half there"
                )
                if not is_draft:
                    found[slide.record.facts.slide_id] = version
            if not is_draft:
                found[GENERATION] = generation
    shutil.rmtree(folder)
    return found


def _version(found: Mapping[str, Version], slide: str) -> int:
    version = found[slide]
    assert version is not None
    return version


def _equal(one: PatchCodes, other: PatchCodes) -> bool:
    return (
        np.array_equal(one.keys, other.keys)
        and np.array_equal(one.textures, other.textures)
        and np.array_equal(one.xy, other.xy)
    )
