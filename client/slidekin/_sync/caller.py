"""How calls are made by programs that wait: the channel, repeats, streams in both directions."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from slidekin import _calls, _wire
from slidekin._calls import Call
from slidekin._credentials import Credential
from slidekin._exceptions import NotFoundError, ServiceError
from slidekin._feed import Feed
from slidekin._outgoing import Outgoing
from slidekin._retry import Attempts
from slidekin._rpc_errors import translate
from slidekin._tracing import CallTracing
from slidekin._transport import channel_options, credentials, dialled
from slidekin._types import (
    AddedSlide,
    ExportedSlide,
    Limits,
    PatchHits,
    Retry,
    SearchOptions,
    SearchResult,
    Slide,
    SlideFilter,
    Timeouts,
    Tls,
)
from slidekin.v1 import (
    admin_pb2_grpc,
    collections_pb2_grpc,
    search_pb2_grpc,
    slides_pb2,
    slides_pb2_grpc,
)

_T = TypeVar("_T")


class Caller:
    """A channel to a service and the ways to call through it. Safe to share between threads."""

    def __init__(
        self,
        target: str,
        *,
        tls: Tls | None,
        credential: Credential,
        timeouts: Timeouts | None,
        retry: Retry | None,
        tracing: CallTracing,
    ) -> None:
        self.target = target
        self._timeouts = timeouts or Timeouts()
        self._retry = retry or Retry()
        self._tracing = tracing
        self._credential = credential
        options = channel_options(target, tls)
        self._channel = (
            grpc.insecure_channel(dialled(target), options=options)
            if tls is None
            else grpc.secure_channel(dialled(target), credentials(tls), options=options)
        )
        self._slides = slides_pb2_grpc.SlideServiceStub(self._channel)
        self._search = search_pb2_grpc.SearchServiceStub(self._channel)
        self._stubs: Mapping[str, object] = {
            "AdminService": admin_pb2_grpc.AdminServiceStub(self._channel),
            "CollectionService": collections_pb2_grpc.CollectionServiceStub(self._channel),
            "SearchService": self._search,
            "SlideService": self._slides,
        }
        self._limits: Limits | None = None

    def close(self) -> None:
        """Closes the channel; calls under way are cancelled."""
        self._channel.close()

    def call(self, call: Call[_T], timeout_s: float | None = None) -> _T:
        """Makes a unary call."""
        method = getattr(self._stubs[call.service], call.method)
        usual_s = self._timeouts.search_s if call.is_search else self._timeouts.unary_s

        def once(remaining_s: float) -> Message:
            with self._tracing.attempt(call.service, call.method) as metadata:
                try:
                    response: Message = method(
                        call.request,
                        timeout=remaining_s,
                        metadata=(*metadata, *self._credential.headers()),
                    )
                except grpc.RpcError as error:
                    raise self._translated(error) from error
            return response

        response = self.repeating(once, timeout_s or usual_s, repeatable=call.repeatable)
        return call.decode(response)

    def repeating(self, once: Callable[[float], _T], timeout_s: float, *, repeatable: bool) -> _T:
        """Makes a call until it goes well, its error is final, or its time is up."""
        attempts = Attempts(self._retry, timeout_s)
        while True:
            try:
                return once(attempts.remaining_s())
            except ServiceError as error:
                pause_s = attempts.pause_s(error) if repeatable else None
                if pause_s is None:
                    raise
            time.sleep(pause_s)

    def pages(self, page: Callable[[str], Call[_calls.Page[_T]]]) -> Iterator[_T]:
        """Walks through a listing."""
        token = ""
        while True:
            answer = self.call(page(token))
            yield from answer.items
            token = answer.next_token
            if not token:
                return

    def limits(self) -> Limits:
        """What the service accepts; asked once."""
        if self._limits is None:
            self._limits = self.call(_calls.get_status()).limits
        return self._limits

    def find_slide(self, name: str) -> Slide | None:
        """A slide, or None where there is none of that name."""
        try:
            return self.call(_calls.get_slide(name, None))
        except NotFoundError:
            return None  # the collection may be missing too: adding says so

    def export(
        self, collection: str, wanted: SlideFilter, timeout_s: float | None
    ) -> Iterator[ExportedSlide]:
        """Makes the export; ends the stream where the caller stops reading."""
        request = _calls.export_request(collection, wanted)
        with self._tracing.attempt("SlideService", "ExportSlides") as metadata:
            call = self._slides.ExportSlides(
                request,
                timeout=timeout_s or self._timeouts.export_s,
                metadata=(*metadata, *self._credential.headers()),
            )
            try:
                for response in call:
                    yield _wire.to_export(response)
            except grpc.RpcError as error:
                raise self._translated(error) from error
            finally:
                call.cancel()  # type: ignore[no-untyped-call]

    def add(
        self,
        slide: Slide,
        outgoing: Outgoing,
        *,
        replace: bool,
        model_fingerprint: str = "",
        thumbnail: bytes | None = None,
        for_reindex: bool = False,
        timeout_s: float | None,
    ) -> AddedSlide:
        """Makes AddSlide, again as a whole where it may be."""
        limits = self.limits()

        def once(remaining_s: float) -> AddedSlide:
            feed = Feed(
                _calls.add_messages(
                    slide,
                    outgoing.patches(),
                    replace=replace,
                    model_fingerprint=model_fingerprint,
                    thumbnail=thumbnail,
                    for_reindex=for_reindex,
                    profile=outgoing.profile,
                    max_message_bytes=limits.max_message_bytes,
                )
            )
            with self._tracing.attempt("SlideService", "AddSlide") as metadata:
                call = self._slides.AddSlide.future(
                    feed, timeout=remaining_s, metadata=(*metadata, *self._credential.headers())
                )
                try:
                    response: slides_pb2.AddSlideResponse = call.result()
                except grpc.RpcError as error:
                    raise self._translated(error, feed) from error
                finally:
                    call.cancel()  # type: ignore[no-untyped-call]
                    feed.close()
            return _wire.to_added(response)

        return self.repeating(
            once, timeout_s or self._timeouts.add_slide_s, repeatable=outgoing.replayable
        )

    def search_all(
        self,
        outgoing: Outgoing,
        collection: str,
        options: SearchOptions,
        *,
        model_fingerprint: str = "",
        on_patch_hits: Callable[[PatchHits], None] | None = None,
        timeout_s: float | None,
    ) -> SearchResult:
        """Makes SearchSlide, again as a whole where it may be."""

        def once(remaining_s: float) -> SearchResult:
            answers = self.search_once(
                outgoing,
                collection,
                options,
                model_fingerprint=model_fingerprint,
                timeout_s=remaining_s,
            )
            result: SearchResult | None = None
            # Closed even where the callback fails: nothing may read the slide after this.
            with contextlib.closing(answers):
                for item in answers:
                    if isinstance(item, SearchResult):
                        result = item
                    elif on_patch_hits is not None:
                        on_patch_hits(item)
            assert result is not None, "a search ends with its result or an error"
            return result

        return self.repeating(
            once, timeout_s or self._timeouts.search_s, repeatable=outgoing.replayable
        )

    def search_once(
        self,
        outgoing: Outgoing,
        collection: str,
        options: SearchOptions,
        *,
        model_fingerprint: str = "",
        timeout_s: float | None,
    ) -> Generator[PatchHits | SearchResult, None, None]:
        """Makes SearchSlide once; hits come out as they come in, the result at the end."""
        limits = self.limits()
        feed = Feed(
            _calls.search_messages(
                collection,
                options,
                outgoing.patches(),
                model_fingerprint=model_fingerprint,
                max_message_bytes=limits.max_message_bytes,
            )
        )
        # gRPC sends from a thread of its own while this one reads: were it to send everything
        # first, a service that waits for its hits to be read would never read the rest.
        with self._tracing.attempt("SearchService", "SearchSlide") as metadata:
            call = self._search.SearchSlide(
                feed,
                timeout=timeout_s or self._timeouts.search_s,
                metadata=(*metadata, *self._credential.headers()),
            )
            reader = _calls.SearchReader(collection, options, outgoing)
            try:
                for response in call:
                    yield from reader.read(response)
            except grpc.RpcError as error:
                raise self._translated(error, feed) from error
            finally:
                call.cancel()  # type: ignore[no-untyped-call]
                feed.close()
        reader.check_complete()

    def _translated(self, error: grpc.RpcError, feed: Feed[Any] | None = None) -> Exception:
        """Our error for gRPC's; where making the messages failed, that failure."""
        if feed is not None and feed.error is not None:
            return feed.error
        return translate(error, target=self.target)
