"""The audit log: one line for each call, written by its own thread.

A call never waits for it. If the disk is full or missing, lines wait in memory and are written as
soon as possible. Lines beyond a bound are lost, and the log then records the loss. The settings say
whether calls are accepted in the meantime.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime

from slidekin_server.access.audit_file import RotatedFile
from slidekin_server.access.errors import AccessError
from slidekin_server.access.pseudonyms import PATIENT, SLIDE, Pseudonyms
from slidekin_server.telemetry import Metrics, get_logger

_MAX_WAITING = 20_000
"""Lines, of some 400 bytes each."""
_BATCH_BYTES = 64 * 1024
_RETRY_S = 1.0
_CLOSE_S = 5.0

_log = get_logger(__name__)


class AuditUnavailableError(AccessError):
    """Calls are refused, because they could not be recorded."""

    retry_after_s = 5.0

    def __init__(self) -> None:
        super().__init__(
            "the service's audit log cannot be written, and its settings let no call go "
            "unrecorded: its administrator should look at the disk of audit.path"
        )


class AuditLog:
    """Takes entries from the event loop and writes them in a thread.

    Args:
        file: The file to write to.
        pseudonyms: Hashes the names of patients and slides.
        metrics: The metrics that count failures.
        refuse: Refuse calls while lines cannot be written.

    Raises:
        OSError: The file cannot be written at the start.
    """

    def __init__(
        self, file: RotatedFile, pseudonyms: Pseudonyms, metrics: Metrics, *, refuse: bool
    ) -> None:
        self._file = file
        self._pseudonyms = pseudonyms
        self._metrics = metrics
        self._count_lost = metrics.log_failures.labels("audit").inc
        self._refuse = refuse
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._changed = threading.Condition()
        self._closing = False
        self._failing = False
        file.append([_line({"event": "audit log opened"})])
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Refuse if calls must be recorded and cannot be recorded now.

        Raises:
            AuditUnavailableError: Calls cannot be recorded now.
        """
        if self._refuse and self._failing:
            raise AuditUnavailableError

    def write(self, facts: Mapping[str, object]) -> None:
        """Queue an entry for writing; names of patients and slides are hashed."""
        entry = dict(facts)
        for kind in (PATIENT, SLIDE):
            if entry.get(kind):
                entry[kind] = self._pseudonyms.hash(kind, str(entry[kind]))
        line = _line(entry)
        with self._changed:
            if len(self._waiting) >= _MAX_WAITING:
                self._lost += 1
                self._count_lost()
                return
            self._waiting.append(line)
            self._changed.notify()

    def close(self) -> None:
        """Write the waiting lines, as far as that is possible in a few seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(_CLOSE_S)
        if self._waiting:
            _log.error("audit entries lost at the end", count=len(self._waiting) + self._lost)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                batch = self._batch()
                lost = self._lost
            if not self._written(batch, lost):
                with self._changed:
                    if self._closing:
                        return
                    self._changed.wait_for(lambda: self._closing, _RETRY_S)
                continue
            with self._changed:
                for _ in batch:
                    self._waiting.popleft()
                self._lost -= lost

    def _batch(self) -> list[bytes]:
        """Return the first waiting lines: at least one, and no more than fit into a file."""
        room = min(_BATCH_BYTES, self._file.max_bytes // 2)
        batch: list[bytes] = []
        for line in self._waiting:
            room -= len(line)
            if batch and room < 0:
                break
            batch.append(line)
        return batch

    def _written(self, batch: list[bytes], lost: int) -> bool:
        gap = [_line({"event": "entries lost", "count": lost})] if lost else []
        try:
            # The lost lines came after the waiting ones.
            self._file.append([*batch, *gap])
        except OSError as error:
            if not self._failing:
                _log.error("audit log cannot be written", problem=error.strerror)
            self._tell(failing=True)
            return False
        if self._failing:
            _log.info("audit log is written again")
        self._tell(failing=False)
        return True

    def _tell(self, *, failing: bool) -> None:
        self._failing = failing
        self._metrics.audit_failing.set(failing)


def _line(entry: Mapping[str, object]) -> bytes:
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    stated = {"time": time, **{name: value for name, value in entry.items() if value is not None}}
    return (json.dumps(stated, ensure_ascii=False, default=str) + "\n").encode(
        "utf-8", "backslashreplace"
    )
