"""Clients that write, search, snapshot and reindex at the same time until a service dies."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable

import grpc
from tests.faults.asked import AskedByStubs, CallFailedError
from tests.faults.client import JudgedClient
from tests.faults.history import History
from tests.faults.model import Model
from tests.faults.reindexing import Reindexing

WRITERS = 3
_REINDEX_PAUSE_S = 0.15
"""Between two writes of a client, at most, while the collection is being reindexed."""
_LOST = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""What a client sees of a service that is gone."""


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
        reindexes: bool,
        generation: int,
    ) -> None:
        self._asked = AskedByStubs(channel)
        self._client = JudgedClient(
            self._asked,
            model,
            history,
            new_version=new_version,
            tell=self._fault,
            generation=generation,
        )
        self._model = model
        self._history = history
        self._stop = threading.Event()
        self.faults: list[str] = []
        self.operations = 0
        self.snapshots: dict[str, tuple[int, float]] = {}
        """Begin and end of each that was acknowledged."""
        self.open_snapshot: int | None = None
        """Begin of the one that was not."""
        self._reindexes = reindexes
        jobs = [self._write] * WRITERS + [self._client.search]
        jobs += [self._snapshot] * snapshots
        jobs += [Reindexing(self._asked, self._client, model).some] * reindexes
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
        except CallFailedError as failure:
            if failure.code not in _LOST:
                self._fault(f"a call failed with {failure}")
        except Exception as error:
            self._fault(f"a client failed: {error!r}")
            raise

    def _fault(self, fault: str) -> None:
        self.faults.append(fault)
        self._history.note("fault", what=fault)

    def _write(self, chance: random.Random) -> None:
        if self._reindexes:
            # Else there would always be a slide that is not encoded anew yet.
            self._stop.wait(chance.uniform(0, _REINDEX_PAUSE_S))
        self._client.write(chance)

    def _snapshot(self, chance: random.Random) -> None:
        self._stop.wait(chance.uniform(0, 0.1))
        start = self.open_snapshot = self._model.tick()
        name = self._asked.snapshot()
        self.open_snapshot = None
        self.snapshots[name] = (start, self._model.tick())
        self._history.note("snapshot", name=name, start=start)


def snapshot_span(traffic: Traffic, name: str) -> tuple[float, float] | None:
    """When a snapshot was made; None where nobody asked for it."""
    if name in traffic.snapshots:
        return traffic.snapshots[name]
    if traffic.open_snapshot is not None:
        return traffic.open_snapshot, math.inf
    return None
