"""What the clients of a fault test ask of a service, whichever way they reach it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc
from tests.faults.content import content, fingerprint, generation_of, patient
from tests.faults.model import Version
from tests.service_calls import (
    TEXTURE_BITS,
    THRESHOLD_BITS,
    Calls,
    Failure,
    slide_id,
)

from slidekin.v1 import admin_pb2, collections_pb2, common_pb2, slides_pb2

_SETTLED = frozenset({
    grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
})  # fmt: skip
OTHER_MODEL = frozenset({"MODEL_FINGERPRINT_MISMATCH", "MODEL_CHANGED"})
"""Reasons that tell that the collection was given another model."""


class CallFailedError(Exception):
    """A call failed.

    Attributes:
        code: Its status.
        reason: What the service calls the cause; empty where it said nothing.
        refused: The service said no, and for certain did nothing.
    """

    def __init__(
        self, code: grpc.StatusCode, message: str, *, reason: str = "", refused: bool
    ) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.reason = reason
        self.refused = refused


@dataclass(frozen=True)
class Found:
    """The answer to a search."""

    hits: Mapping[int, frozenset[tuple[str, int]]]
    """Of each query patch: slides and keys."""
    ranked: Sequence[tuple[str, Version]]
    """Slides and their versions, best first."""


@dataclass(frozen=True)
class Pending:
    """A slide that a reindex has not encoded anew yet."""

    slide: str
    version: int
    content_digest: str


class Asked(Protocol):
    """A way to ask. Each method raises `CallFailedError` where its call fails."""

    def add(self, slide: str, version: int, generation: int, *, replace: bool) -> None: ...
    def delete(self, slide: str) -> None: ...
    def delete_patient(self, patient_id: str) -> None: ...
    def search(self, version: int, generation: int, *, exact: bool) -> Found: ...


class AskedByStubs:
    """Bare calls, each made once: a death of the service shows at once."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._calls = Calls(channel)

    def add(self, slide: str, version: int, generation: int, *, replace: bool) -> None:
        with _failing():
            self._calls.add(
                slide,
                content(version, generation),
                replace=replace,
                fingerprint=fingerprint(generation),
                label=str(version),
                patient_id=patient(slide),
            )

    def delete(self, slide: str) -> None:
        request = slides_pb2.DeleteSlideRequest(name=self._calls.name(slide))
        with _failing():
            self._calls.slides.DeleteSlide(request, timeout=self._calls.timeout_s)

    def delete_patient(self, patient_id: str) -> None:
        request = slides_pb2.DeletePatientRequest(parent=self._calls.parent, patient_id=patient_id)
        with _failing():
            self._calls.slides.DeletePatient(request, timeout=self._calls.timeout_s)

    def search(self, version: int, generation: int, *, exact: bool) -> Found:
        mode = common_pb2.SEARCH_MODE_EXACT if exact else common_pb2.SEARCH_MODE_HYBRID
        with _failing():
            found = self._calls.search_stream(
                self._calls.questions(
                    content(version, generation),
                    fingerprint=fingerprint(generation),
                    mode=mode,
                    k=5,
                )
            )
        return Found(
            hits={
                index: frozenset((slide_id(hit.slide), hit.key) for hit in bag.hits)
                for index, bag in found.bags.items()
            },
            ranked=[
                (slide_id(one.slide.name), int(one.slide.label)) for one in found.ranked.slides
            ],
        )

    def snapshot(self) -> str:
        """Make one, and return its name."""
        request = admin_pb2.CreateSnapshotRequest()
        with _failing():
            response = self._calls.admin.CreateSnapshot(request, timeout=self._calls.timeout_s)
        return response.snapshot.name.partition("/")[2]

    def generation(self) -> int:
        """The collection's generation."""
        with _failing():
            return generation_of(self._calls.get().model_fingerprint)

    def start_reindex(self, generation: int) -> None:
        """Begin to lead the collection to a generation, or go on with that."""
        request = collections_pb2.StartReindexRequest(
            name=self._calls.parent,
            model_fingerprint=fingerprint(generation),
            texture_bits=TEXTURE_BITS,
            hamming_threshold_bits=THRESHOLD_BITS,
        )
        with _failing():
            self._calls.collections.StartReindex(request, timeout=self._calls.timeout_s)

    def pending(self) -> list[Pending]:
        """Slides that are not encoded anew yet."""
        request = collections_pb2.ListPendingSlidesRequest(
            parent=self._calls.parent, page_size=1000
        )
        with _failing():
            response = self._calls.collections.ListPendingSlides(
                request, timeout=self._calls.timeout_s
            )
        return [
            Pending(slide_id(one.name), int(one.label), one.content_digest)
            for one in response.slides
        ]

    def reindex(self, pending: Pending, generation: int) -> None:
        """Give a slide its codes of a generation, to be seen at the end."""
        with _failing():
            self._calls.add(
                pending.slide,
                content(pending.version, generation),
                fingerprint=fingerprint(generation),
                for_reindex=True,
                content_digest=pending.content_digest,
            )

    def finish_reindex(self, generation: int) -> None:
        """Put the codes of a generation in the place of the old ones."""
        request = collections_pb2.FinishReindexRequest(
            name=self._calls.parent, model_fingerprint=fingerprint(generation)
        )
        with _failing():
            self._calls.collections.FinishReindex(request, timeout=self._calls.timeout_s)

    def cancel_reindex(self) -> None:
        """Throw away what was encoded anew."""
        request = collections_pb2.CancelReindexRequest(name=self._calls.parent)
        with _failing():
            self._calls.collections.CancelReindex(request, timeout=self._calls.timeout_s)


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    """Raise the error of a bare call as ours."""
    try:
        yield
    except grpc.RpcError as error:
        failure = Failure.of(error)
        reason = failure.info.reason if failure.info is not None else ""
        raise CallFailedError(
            failure.code,
            failure.message,
            reason=reason,
            refused=failure.code in _SETTLED or reason in OTHER_MODEL,
        ) from error
