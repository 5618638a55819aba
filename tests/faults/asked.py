"""What the clients of a fault test ask of a service, whichever way they reach it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc
from tests.faults.content import content, patient
from tests.faults.model import Version
from tests.service_calls import Calls, Failure, slide_id

from slidekin.v1 import admin_pb2, common_pb2, slides_pb2

_SETTLED = frozenset({
    grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
})  # fmt: skip


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


class Asked(Protocol):
    """A way to ask. Each method raises `CallFailedError` where its call fails."""

    def add(self, slide: str, version: int, *, replace: bool) -> None: ...
    def delete(self, slide: str) -> None: ...
    def delete_patient(self, patient_id: str) -> None: ...
    def search(self, version: int, *, exact: bool) -> Found: ...
    def snapshot(self) -> str:
        """Returns its name."""
        ...


class AskedByStubs:
    """Bare calls, each made once: a death of the service shows at once."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._calls = Calls(channel)

    def add(self, slide: str, version: int, *, replace: bool) -> None:
        try:
            self._calls.add(
                slide,
                content(version),
                replace=replace,
                label=str(version),
                patient_id=patient(slide),
            )
        except grpc.RpcError as error:
            raise _failed(error) from error

    def delete(self, slide: str) -> None:
        request = slides_pb2.DeleteSlideRequest(name=self._calls.name(slide))
        try:
            self._calls.slides.DeleteSlide(request, timeout=self._calls.timeout_s)
        except grpc.RpcError as error:
            raise _failed(error) from error

    def delete_patient(self, patient_id: str) -> None:
        request = slides_pb2.DeletePatientRequest(parent=self._calls.parent, patient_id=patient_id)
        try:
            self._calls.slides.DeletePatient(request, timeout=self._calls.timeout_s)
        except grpc.RpcError as error:
            raise _failed(error) from error

    def search(self, version: int, *, exact: bool) -> Found:
        mode = common_pb2.SEARCH_MODE_EXACT if exact else common_pb2.SEARCH_MODE_HYBRID
        try:
            found = self._calls.search(content(version), mode=mode, k=5)
        except grpc.RpcError as error:
            raise _failed(error) from error
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
        request = admin_pb2.CreateSnapshotRequest()
        try:
            response = self._calls.admin.CreateSnapshot(request, timeout=self._calls.timeout_s)
        except grpc.RpcError as error:
            raise _failed(error) from error
        return response.snapshot.name.partition("/")[2]


def _failed(error: grpc.RpcError) -> CallFailedError:
    failure = Failure.of(error)
    reason = failure.info.reason if failure.info is not None else ""
    return CallFailedError(
        failure.code, failure.message, reason=reason, refused=failure.code in _SETTLED
    )
