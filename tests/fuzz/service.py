"""A run of one target against a real service: calls, judged one by one and together."""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from tests.fuzz.calls import Answer, Request, send
from tests.fuzz.ledger import Ledger, overtaken
from tests.fuzz.messages import COLLECTIONS
from tests.fuzz.oracle import faults
from tests.fuzz.results import Finding, Result
from tests.service_calls import Calls, random_codes
from tests.service_process import ServiceProcess

from slidekin.v1 import collections_pb2

_BATCH = 250
"""Calls between two looks at the service and what it holds."""
_SAMPLE = 50
"""Calls between two looks at its memory."""
_EXAMPLES = 500
"""Of one Hypothesis run; its memory of what it made grows with them."""
_HISTORY = 400
"""Calls kept for the replay of a finding, which may need what came before."""
_MIB = 1024 * 1024
LIMITS = {
    "max_message_bytes": 2 * 1024 * 1024,
    "max_image_bytes": 1024 * 1024,
    "max_thumbnail_bytes": 64 * 1024,
    "max_patches_per_slide": 200,
    "max_k": 50,
}
"""Small, so that they are met."""
_NUMBERS = st.integers(0, 2**64 - 1)
Kind = Callable[[random.Random], SearchStrategy[Request]]


class ServiceRun:
    """A service and what was done to it."""

    def __init__(self, target: str, service: ServiceProcess) -> None:
        self._target = target
        self._service = service
        self._history: deque[Request] = deque(maxlen=_HISTORY)
        self._seen: set[tuple[str, str]] = set()
        self._memory: list[float] = []
        self._calls = 0
        self._channel: grpc.Channel
        self._ledger: Ledger
        self.codes: Counter[str] = Counter()
        self.findings: list[Finding] = []

    def run(self, kind: Kind, *, inputs: int, number: int) -> Result:
        """Make so many calls of a kind, then look whether all that was acknowledged is there.

        Args:
            kind: What to send.
            inputs: Calls to make.
            number: The seed.
        """
        started = time.monotonic()
        with self._connected():
            while self._calls < inputs:
                many = min(_EXAMPLES, inputs - self._calls)
                self._some(kind, many, number=number + self._calls)
            self._look()
        self._restart()
        return Result(
            target=self._target,
            seed=number,
            inputs=self._calls,
            seconds=round(time.monotonic() - started, 1),
            findings=tuple(self.findings),
            memory_growth_mib=growth(self._memory),
            depth=f"{self._share_of_ok()} % answered with OK",
        )

    def replay(self, requests: list[Request]) -> None:
        """Make calls again: the last by itself first, then all in their order."""
        with self._connected():
            for request in (requests[-1], *requests):
                self.one(request)
                if self.findings:
                    break
            self._look()

    def one(self, request: Request) -> Answer:
        """Make one call and judge it."""
        self._history.append(request)
        answer = send(self._channel, request)
        self._calls += 1
        self.codes[answer.code.name] += 1
        secrets = [str(self._service.folder).encode()]
        for fault in faults(request, answer, secrets):
            self._found(request.path, fault)
        self._ledger.observe(request, answer)
        if self._calls % _SAMPLE == 0 and self._service.process is not None:
            process = psutil.Process(self._service.process.pid)
            with contextlib.suppress(psutil.NoSuchProcess):
                self._memory.append(process.memory_info().rss / _MIB)
        if self._calls % _BATCH == 0:
            self._look()
        return answer

    def _some(self, kind: Kind, many: int, *, number: int) -> None:
        # Nothing is raised on a fault, and nothing shrunk: the service has changed meanwhile, and
        # other calls are to be made. A finding is replayed with the calls that led to it.
        @seed(number)
        @settings(
            max_examples=many,
            phases=[Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def calls(data: st.DataObject) -> None:
            chance = random.Random(data.draw(_NUMBERS))
            self.one(data.draw(kind(chance)))

        calls()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        self._service.start()
        with self._service.channel() as self._channel:
            for name in COLLECTIONS:
                calls = self._create(name)
                if self._service.codes_only:
                    calls.add("slide-0", random_codes(1, 4), patient_id="P-1", label="naevus")
            self._ledger = Ledger(self._channel)
            yield

    def _look(self) -> None:
        """See that the service lives, holds what it acknowledged, and how large it is."""
        process = self._service.process
        assert process is not None
        if process.poll() is not None:
            self._found("service", f"crash: it ended with {process.returncode}")
            self._service.process = None
            self._service.start()
        request = health_pb2.HealthCheckRequest()
        status = health_pb2_grpc.HealthStub(self._channel).Check(request, timeout=20).status
        if status != health_pb2.HealthCheckResponse.SERVING:
            self._found("service", "crash: it says that it does not live")
        for fault in self._ledger.faults():
            self._found("service", fault)
        self._ledger.read()
        self._tidy()

    def _tidy(self) -> None:
        """Delete what random names have made, and put back what was deleted."""
        calls = Calls(self._channel)
        wanted = {f"collections/{name}" for name in COLLECTIONS}
        for name in self._ledger.collections.keys() - wanted:
            with overtaken(grpc.StatusCode.NOT_FOUND):
                calls.collections.DeleteCollection(
                    collections_pb2.DeleteCollectionRequest(name=name, force=True), timeout=30
                )
        for name in wanted - self._ledger.collections.keys():
            self._create(name.partition("/")[2])
        self._ledger.read()

    def _create(self, name: str) -> Calls:
        """A collection: of the model that is served, where one is."""
        calls = Calls(self._channel, name)
        served = {"model_fingerprint": "", "texture_bits": 0, "hamming_threshold_bits": 0}
        with overtaken(grpc.StatusCode.ALREADY_EXISTS):
            calls.create(**({} if self._service.codes_only else served))
        return calls

    def _restart(self) -> None:
        """Stop it as an administrator does, and look once more at what is on disk."""
        code = self._service.stop()
        if code:
            self._found("service", f"crash: it ended with {code} when asked to")
        log = self._service.log.read_text(encoding="utf-8", errors="replace")
        for sign in ("Traceback", '"event": "incident"', "exception was never retrieved"):
            line = next((line for line in log.splitlines() if sign in line), None)
            if line is not None:
                self._found("service", f"log: it holds {sign!r}: {line[:2000]}")
        self._service.start()
        with self._service.channel() as channel:
            acknowledged = self._ledger.collections
            self._ledger = Ledger(channel)
            self._ledger.collections = acknowledged
            for fault in self._ledger.faults():
                self._found("service", f"after a restart, {fault}")
        self._service.stop()

    def _found(self, where: str, fault: str) -> None:
        sort = fault[:60]
        if (where, sort) in self._seen:
            return
        self._seen.add((where, sort))
        case = [request.to_json() for request in self._history]
        self.findings.append(Finding(self._target, f"{where}: {fault}", calls=case))

    def _share_of_ok(self) -> int:
        return round(100 * self.codes["OK"] / max(1, self.codes.total()))


def growth(samples: list[float]) -> float | None:
    """What memory grew by from the second quarter of a run to its end, in MiB.

    What the first quarter brings, libraries and caches, is no leak. None: it was too short to say.
    """
    if len(samples) < 8:
        return None
    quarter = len(samples) // 4
    return round(
        statistics.median(samples[-quarter:]) - statistics.median(samples[quarter : 2 * quarter]), 1
    )
