"""What the service acknowledged, to be held against what it holds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from tests.fuzz.calls import PATIENCE_S, Answer, Ending, Request
from tests.service_calls import Calls

from slidekin.v1 import collections_pb2, slides_pb2

_UNSURE = frozenset({grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED})


class Ledger:
    """The slides of every collection, as the service's answers have it.

    Clients that go away, or whose deadline is over, cannot know what became of their call, nor
    when: what is held is then read anew, and the collections that the call names are not judged at
    the next look.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self.collections: dict[str, dict[str, bytes]] = {}
        """By resource names; each slide as it was acknowledged."""
        self._unsure: list[tuple[float, bytes]] = []
        """What such calls sent, and when."""
        self._observers: dict[str, Callable[[Any, Any], None]] = {
            "CreateCollection": self._created,
            "DeleteCollection": self._deleted_collection,
            "AddSlide": self._added,
            "UpdateSlide": self._updated,
            "DeleteSlide": self._deleted,
            "DeletePatient": self._deleted_patient,
            "FinishReindex": self._reindexed,
        }
        self.read()

    def observe(self, request: Request, answer: Answer) -> None:
        """Note what an answer says."""
        method = request.method
        if method is None or method.name not in self._observers:
            return
        if answer.code is grpc.StatusCode.OK and answer.responses:
            sent = [method.request.FromString(message) for message in request.messages]
            self._observers[method.name](sent[0], method.response.FromString(answer.responses[0]))
        elif answer.code in _UNSURE and _may_be_done(request):
            self._unsure.append((time.monotonic(), b"\n".join(request.messages)))
            self.read()

    def read(self) -> None:
        """Take what is held as it stands."""
        self.collections = self._held()

    def faults(self) -> list[str]:
        """Say where what is held is not what was acknowledged."""
        held = self._held()
        found = [
            f"state: {name} is {'not ' if name in self.collections else ''}held"
            for name in sorted(self.collections.keys() ^ held.keys())
            if self._is_sure(name)
        ]
        for name in filter(self._is_sure, self.collections.keys() & held.keys()):
            acknowledged = self.collections[name]
            found += [
                f"state: {slide} is not as acknowledged"
                for slide in sorted(acknowledged.keys() | held[name].keys())
                if acknowledged.get(slide) != held[name].get(slide)
            ]
        now = time.monotonic()
        self._unsure = [(when, sent) for when, sent in self._unsure if now - when < PATIENCE_S]
        return found

    def _is_sure(self, collection: str) -> bool:
        name = collection.partition("/")[2].encode()
        return not any(name in sent for _, sent in self._unsure)

    def _held(self) -> dict[str, dict[str, bytes]]:
        calls = Calls(self._channel)
        names: list[str] = []
        token = ""
        while token or not names:
            page = calls.collections.ListCollections(
                collections_pb2.ListCollectionsRequest(page_size=1000, page_token=token), timeout=30
            )
            names += [collection.name for collection in page.collections]
            token = page.next_page_token
            if not token:
                break
        held = {name: self._slides(calls, name) for name in names}
        return {name: slides for name, slides in held.items() if slides is not None}

    def _slides(self, calls: Calls, parent: str) -> dict[str, bytes] | None:
        """The slides of a collection; None where it is gone."""
        slides: dict[str, bytes] = {}
        token = ""
        while True:
            page = None
            with overtaken(grpc.StatusCode.NOT_FOUND):
                page = calls.slides.ListSlides(
                    slides_pb2.ListSlidesRequest(parent=parent, page_size=100, page_token=token),
                    timeout=30,
                )
            if page is None:
                return None
            slides |= {slide.name: _packed(slide) for slide in page.slides}
            token = page.next_page_token
            if not token:
                return slides

    def _created(self, _request: Any, response: Any) -> None:
        self.collections.setdefault(response.collection.name, {})

    def _deleted_collection(self, request: Any, _response: Any) -> None:
        self.collections.pop(request.name, None)

    def _added(self, request: Any, response: Any) -> None:
        slide = response.slide
        if not request.header.for_reindex:
            self._note(slide)

    def _updated(self, _request: Any, response: Any) -> None:
        self._note(response.slide)

    def _note(self, slide: Any) -> None:
        self.collections.setdefault(_parent(slide.name), {})[slide.name] = _packed(slide)

    def _forget(self, name: str) -> None:
        self.collections.get(_parent(name), {}).pop(name, None)

    def _deleted(self, request: Any, _response: Any) -> None:
        self._forget(request.name)

    def _deleted_patient(self, _request: Any, response: Any) -> None:
        for name in response.deleted_slides:
            self._forget(name)

    def _reindexed(self, _request: Any, response: Any) -> None:
        name = response.collection.name
        kept = self.collections.get(name, {}).keys() - set(response.dropped_slides)
        held = self._slides(Calls(self._channel), name) or {}
        # Codes and number of patches change; which slides there are does not.
        self.collections[name] = {slide: held.get(slide, b"") for slide in kept}


@contextlib.contextmanager
def overtaken(code: grpc.StatusCode) -> Iterator[None]:
    """Let a call of the fuzzer's own end with this code.

    A call whose end nobody saw, a deletion say, may still be at work and come between two others.
    """
    try:
        yield
    except grpc.RpcError as error:
        if error.code() is not code:
            raise


def _parent(slide: str) -> str:
    return slide.partition("/slides/")[0]


def _packed(slide: Any) -> bytes:
    return slide.SerializeToString(deterministic=True)


def _may_be_done(request: Request) -> bool:
    """Whether a call whose end nobody saw may have had its effect.

    Streams that were not ended may have said all the same that they are complete.
    """
    method = request.method
    if request.ending is Ending.COMPLETE or method is None or not method.takes_stream:
        return True
    for message in request.messages:
        try:
            if slides_pb2.AddSlideRequest.FromString(message).HasField("end"):
                return True
        except DecodeError:
            return False  # it ended there
    return False
