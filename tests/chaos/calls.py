"""Every call of a run, and what may be said against how it ended."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import grpc
from tests.faults.asked import CallFailedError

from slidekin import ServiceError

BUDGET_S = 20.0
"""Time-out of a call, its retries included."""
IMAGE_BUDGET_S = 60.0
"""The same where networks work for it, on a CPU that it shares with everything else here."""
_LATE_S = 5.0
"""How much later than its time-out a call may end, on a busy machine."""
_ONE_ATTEMPT_S = 1.0
"""A call that was this quick met no fault: the shortest lasts longer."""
_TRANSPORT = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})
"""What gRPC itself says where nobody is there to give a reason."""
_OUR_FAULT = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS", "UNIMPLEMENTED"})
_OVERLOADED = "OVERLOADED"
_ANSWERS = frozenset({"ALREADY_EXISTS", "NOT_FOUND"})
_CODES = {code.name: code for code in grpc.StatusCode}


class Kind(StrEnum):
    """What a call was made for."""

    INGEST = "ingest"
    DELETE = "delete"
    SEARCH = "search"
    IMAGE_INGEST = "ingest of images"
    IMAGE_SEARCH = "search by image"

    @property
    def budget_s(self) -> float:
        """Time-out of such a call, its retries included."""
        needs_networks = self in {Kind.IMAGE_INGEST, Kind.IMAGE_SEARCH}
        return IMAGE_BUDGET_S if needs_networks else BUDGET_S


@dataclass(frozen=True)
class CallRecord:
    """One call of the SDK, with all its attempts."""

    kind: Kind
    start_s: float
    """Monotonic."""
    end_s: float
    code: str = "OK"
    reason: str = ""
    message: str = ""

    @property
    def answered(self) -> bool:
        """It did what it should, or said that there is nothing to do."""
        return self.code == "OK" or self.code in _ANSWERS

    @property
    def overload(self) -> bool:
        """The networks would have been too slow for it: what a busy machine says, not a fault."""
        return self.reason == _OVERLOADED and self.kind.budget_s == IMAGE_BUDGET_S

    def objection(self) -> str | None:
        """What is wrong with how it ended, whatever went on around it."""
        took_s = self.end_s - self.start_s
        if took_s > self.kind.budget_s + _LATE_S:
            return f"{self.kind} took {took_s:.0f} s, had {self.kind.budget_s:.0f}"
        if self.code == "OK":
            return None
        told = f"{self.kind} failed with {self.code} {self.reason}: {self.message}"
        if self.code not in _CODES or self.code in _OUR_FAULT:
            return told
        if not self.reason and self.code not in _TRANSPORT:
            return f"{told} (no reason)"
        if not self.message:
            return f"{told} (no message)"
        return None


class CallLog:
    """The calls of a run. Safe to share between threads."""

    def __init__(self) -> None:
        self._records: list[CallRecord] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def call(self, kind: Kind, *, repeatable: bool) -> Iterator[None]:
        """Note the call that is made in this context.

        Args:
            kind: What it is for.
            repeatable: The SDK may have made it more than once.

        Raises:
            CallFailedError: It failed as a call of the SDK may fail.
        """
        start_s = time.monotonic()
        try:
            yield
        except ServiceError as error:
            end_s = time.monotonic()
            record = CallRecord(kind, start_s, end_s, error.code, error.reason, error.message)
            self._add(record)
            once = not repeatable or end_s - start_s < _ONE_ATTEMPT_S
            raise CallFailedError(
                _CODES.get(error.code, grpc.StatusCode.UNKNOWN),
                error.message,
                reason=error.reason,
                refused=error.code in _ANSWERS and once,
            ) from error
        except Exception as error:
            self._add(
                CallRecord(kind, start_s, time.monotonic(), type(error).__name__, "", str(error))
            )
            raise
        self._add(CallRecord(kind, start_s, time.monotonic()))

    @property
    def records(self) -> Sequence[CallRecord]:
        """All calls that ended by now, in the order in which they did."""
        with self._lock:
            return tuple(self._records)

    def first_answer_s(self, kind: Kind, since_s: float) -> float | None:
        """When the first call that ended after a moment was answered; None: none was yet."""
        with self._lock:
            # From the end: what is looked for is not far behind.
            answer_s = None
            for record in reversed(self._records):
                if record.end_s <= since_s:
                    break
                if record.kind is kind and record.answered:
                    answer_s = record.end_s
            return answer_s

    def _add(self, record: CallRecord) -> None:
        with self._lock:
            self._records.append(record)
