"""Clients that add, replace, delete, search and snapshot at the same time, and note all of it."""

from __future__ import annotations

import json
import math
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import grpc
from tests.faults.model import Model, Version, Write
from tests.service_calls import Calls, Failure, random_codes, slide_id

from slidekin.v1 import admin_pb2, common_pb2, slides_pb2
from slidekin_server.values import PatchCodes

SLIDES = tuple(f"slide-{number:02}" for number in range(24))
"""Few, so that clients get into each other's way."""
WRITERS = 3
_PATIENTS = 6
_SETTLED = frozenset({
    grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
})  # fmt: skip
_LOST = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""What a client sees of a service that is gone."""


def content(version: int) -> PatchCodes:
    """Patches of a version: no two versions have one in common."""
    return random_codes(version, 1 + version % 40)


def patient(slide: str) -> str:
    """Whose slide it is."""
    return f"patient-{SLIDES.index(slide) % _PATIENTS}"


class History:
    """One JSON object for each thing that happened, in order."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._stream: TextIO = file.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def note(self, event: str, **values: object) -> None:
        """Write one line."""
        with self._lock:
            self._stream.write(json.dumps({"event": event, **values}) + "\n")

    def close(self) -> None:
        """Have all of it in the file."""
        self._stream.close()


class Traffic:
    """The clients of one round."""

    def __init__(
        self,
        channel: grpc.Channel,
        model: Model,
        history: History,
        *,
        seed: str,
        new_version: Callable[[], int],
        snapshots: bool,
    ) -> None:
        self._calls = Calls(channel)
        self._model = model
        self._history = history
        self._new_version = new_version
        self._stop = threading.Event()
        self.faults: list[str] = []
        self.operations = 0
        self.snapshots: dict[str, tuple[int, float]] = {}
        """Begin and end of each that was acknowledged."""
        self.open_snapshot: int | None = None
        """Begin of the one that was not."""
        jobs = [self._write] * WRITERS + [self._search] + [self._snapshot] * snapshots
        self._threads = [
            threading.Thread(target=self._run, args=(job, random.Random(f"{seed}/{number}")))
            for number, job in enumerate(jobs)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for the end, which comes with that of the service."""
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), "a call did not end within 120 s"

    def stop(self) -> None:
        """Ask for no more."""
        self._stop.set()

    def _run(self, job: Callable[[random.Random], None], chance: random.Random) -> None:
        try:
            while not self._stop.is_set():
                job(chance)
                self.operations += 1
        except grpc.RpcError as error:
            failure = Failure.of(error)
            if failure.code not in _LOST:
                self._fault(f"a call failed with {failure.code.name}: {failure.message}")
        except Exception as error:
            self._fault(f"a client failed: {error!r}")
            raise

    def _fault(self, fault: str) -> None:
        self.faults.append(fault)
        self._history.note("fault", what=fault)

    def _write(self, chance: random.Random) -> None:
        slide = chance.choice(SLIDES)
        dice = chance.random()
        if dice < 0.45:
            self._add(slide, replace=True)
        elif dice < 0.65:
            self._add(slide, replace=False)
        elif dice < 0.95:
            request = slides_pb2.DeleteSlideRequest(name=self._calls.name(slide))
            self._change(
                (slide,), None, lambda: self._calls.slides.DeleteSlide(request, timeout=60)
            )
        else:
            slides = [other for other in SLIDES if patient(other) == patient(slide)]
            erase = slides_pb2.DeletePatientRequest(
                parent=self._calls.parent, patient_id=patient(slide)
            )
            self._change(slides, None, lambda: self._calls.slides.DeletePatient(erase, timeout=60))

    def _add(self, slide: str, *, replace: bool) -> None:
        version = self._new_version()
        self._change(
            (slide,),
            version,
            lambda: self._calls.add(
                slide,
                content(version),
                replace=replace,
                label=str(version),
                patient_id=patient(slide),
            ),
        )

    def _change(
        self, slides: tuple[str, ...] | list[str], version: Version, call: Callable[[], Any]
    ) -> None:
        write = self._model.begin(slides, version)
        told = {"slides": list(slides), "version": version, "start": write.start}
        try:
            call()
        except grpc.RpcError as error:
            code = Failure.of(error).code
            self._history.note("change failed", code=code.name, **told)
            if code not in _SETTLED:
                raise
            self._model.refuse(write)
            self._judge_refusal(write, code)
            return
        self._model.acknowledge(write)
        self._history.note("changed", end=write.end, **told)

    def _judge_refusal(self, write: Write, code: grpc.StatusCode) -> None:
        """A refusal tells what was there: it, too, may be wrong."""
        for slide in write.slides:
            possible = self._model.possible(slide, write.start, write.end)
            if code is grpc.StatusCode.NOT_FOUND and None not in possible:
                self._fault(f"{slide} is not found, must be there as {possible}")
            if code is grpc.StatusCode.ALREADY_EXISTS and possible == {None}:
                self._fault(f"{slide} is in the way, was deleted")

    def _search(self, chance: random.Random) -> None:
        slide = chance.choice(SLIDES)
        now = self._model.tick()
        version = chance.choice(sorted(self._model.possible(slide, now, now), key=str))
        if version is None:
            return
        codes = content(version)
        mode = chance.choice([common_pb2.SEARCH_MODE_EXACT, common_pb2.SEARCH_MODE_HYBRID])
        start = self._model.tick()
        found = self._calls.search(codes, mode=mode, k=5)
        end = self._model.tick()
        own = {int(key) for key in codes.keys}
        hits = {
            index: {(slide_id(hit.slide), hit.key) for hit in bag.hits}
            for index, bag in found.bags.items()
        }
        self._history.note(
            "searched", slide=slide, version=version, start=start, end=end,
            hits=sum(map(bool, hits.values())), ranked=found.slides,
        )  # fmt: skip
        strangers = {hit for bag in hits.values() for hit in bag if hit[0] != slide}
        strangers |= {hit for bag in hits.values() for hit in bag if hit[1] not in own}
        if strangers:
            self._fault(f"a search for version {version} of {slide} found {sorted(strangers)}")
        seen = [index for index, bag in hits.items() if bag]
        possible = self._model.possible(slide, start, end)
        if seen and len(seen) != len(codes):
            self._fault(
                f"a search saw {len(seen)} of {len(codes)} patches of {slide}, version {version}"
            )
        if seen and version not in possible:
            self._fault(f"a search found version {version} of {slide}, could be {possible}")
        if not seen and possible == {version}:
            self._fault(f"a search missed version {version} of {slide}")
        if seen and slide not in found.slides:
            self._fault(f"the ranking for {slide} does not fit its hits: {found.slides}")
        for ranked in found.ranked.slides:
            other, label = slide_id(ranked.slide.name), int(ranked.slide.label)
            could = (
                {version} if seen and other == slide else self._model.possible(other, start, end)
            )
            if label not in could:
                self._fault(f"a ranking holds version {label} of {other}, could be {could}")

    def _snapshot(self, chance: random.Random) -> None:
        self._stop.wait(chance.uniform(0, 0.1))
        start = self.open_snapshot = self._model.tick()
        response = self._calls.admin.CreateSnapshot(admin_pb2.CreateSnapshotRequest(), timeout=60)
        self.open_snapshot = None
        name = response.snapshot.name.partition("/")[2]
        self.snapshots[name] = (start, self._model.tick())
        self._history.note("snapshot", name=name, start=start)


def snapshot_span(traffic: Traffic, name: str) -> tuple[float, float] | None:
    """When a snapshot was made; None where nobody asked for it."""
    if name in traffic.snapshots:
        return traffic.snapshots[name]
    if traffic.open_snapshot is not None:
        return traffic.open_snapshot, math.inf
    return None
