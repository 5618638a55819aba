"""How calls are made in an event loop: the channel, repeats, streams in both directions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from slidekin import _calls, _wire
from slidekin._calls import Call
from slidekin._credentials import Credential
from slidekin._exceptions import NotFoundError, ServiceError
from slidekin._feed import Feed
from slidekin._outgoing import OpenSource, Outgoing, Progress
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
    SlideSource,
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


class AsyncCaller:
    """A channel to a service and the ways to call through it. Lives in one event loop."""

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
            grpc.aio.insecure_channel(dialled(target), options=options)
            if tls is None
            else grpc.aio.secure_channel(dialled(target), credentials(tls), options=options)
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

    async def close(self) -> None:
        """Closes the channel; calls under way are cancelled."""
        await self._channel.close(None)

    async def call(self, call: Call[_T], timeout_s: float | None = None) -> _T:
        """Makes a unary call."""
        method = getattr(self._stubs[call.service], call.method)
        usual_s = self._timeouts.search_s if call.is_search else self._timeouts.unary_s

        async def once(remaining_s: float) -> Message:
            with self._tracing.attempt(call.service, call.method) as metadata:
                try:
                    response: Message = await method(
                        call.request,
                        timeout=remaining_s,
                        metadata=(*metadata, *await self._credential.headers_async()),
                    )
                except grpc.aio.AioRpcError as error:
                    raise self._translated(error) from error
            return response

        response = await self.repeating(once, timeout_s or usual_s, repeatable=call.repeatable)
        return call.decode(response)

    async def repeating(
        self, once: Callable[[float], Awaitable[_T]], timeout_s: float, *, repeatable: bool
    ) -> _T:
        """Makes a call until it goes well, its error is final, or its time is up."""
        attempts = Attempts(self._retry, timeout_s)
        while True:
            try:
                return await once(attempts.remaining_s())
            except ServiceError as error:
                pause_s = attempts.pause_s(error) if repeatable else None
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)

    async def pages(self, page: Callable[[str], Call[_calls.Page[_T]]]) -> AsyncIterator[_T]:
        """Walks through a listing."""
        token = ""
        while True:
            answer = await self.call(page(token))
            for item in answer.items:
                yield item
            token = answer.next_token
            if not token:
                return

    async def limits(self) -> Limits:
        """What the service accepts; asked once."""
        if self._limits is None:
            self._limits = (await self.call(_calls.get_status())).limits
        return self._limits

    async def find_slide(self, name: str) -> Slide | None:
        """A slide, or None where there is none of that name."""
        try:
            return await self.call(_calls.get_slide(name, None))
        except NotFoundError:
            return None  # the collection may be missing too: adding says so

    async def export(
        self, collection: str, wanted: SlideFilter, timeout_s: float | None
    ) -> AsyncIterator[ExportedSlide]:
        """Makes the export; ends the stream where the caller stops reading."""
        request = _calls.export_request(collection, wanted)
        with self._tracing.attempt("SlideService", "ExportSlides") as metadata:
            call = self._slides.ExportSlides(
                request,
                timeout=timeout_s or self._timeouts.export_s,
                metadata=(*metadata, *await self._credential.headers_async()),
            )
            try:
                async for response in call:
                    yield _wire.to_export(response)
            except grpc.aio.AioRpcError as error:
                raise self._translated(error) from error
            finally:
                call.cancel()

    async def add(
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
        limits = await self.limits()

        async def once(remaining_s: float) -> AddedSlide:
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
                call = self._slides.AddSlide(
                    _in_thread(feed),
                    timeout=remaining_s,
                    metadata=(*metadata, *await self._credential.headers_async()),
                )
                try:
                    response: slides_pb2.AddSlideResponse = await call
                except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
                    raise self._translated(error, feed) from error
                finally:
                    call.cancel()
                    await asyncio.shield(asyncio.to_thread(feed.close))
            return _wire.to_added(response)

        return await self.repeating(
            once, timeout_s or self._timeouts.add_slide_s, repeatable=outgoing.replayable
        )

    async def search_all(
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

        async def once(remaining_s: float) -> SearchResult:
            answers = self.search_once(
                outgoing,
                collection,
                options,
                model_fingerprint=model_fingerprint,
                timeout_s=remaining_s,
            )
            result: SearchResult | None = None
            # Closed even where the callback fails: nothing may read the slide after this.
            async with contextlib.aclosing(answers):
                async for item in answers:
                    if isinstance(item, SearchResult):
                        result = item
                    elif on_patch_hits is not None:
                        on_patch_hits(item)
            assert result is not None, "a search ends with its result or an error"
            return result

        return await self.repeating(
            once, timeout_s or self._timeouts.search_s, repeatable=outgoing.replayable
        )

    async def search_once(
        self,
        outgoing: Outgoing,
        collection: str,
        options: SearchOptions,
        *,
        model_fingerprint: str = "",
        timeout_s: float | None,
    ) -> AsyncGenerator[PatchHits | SearchResult, None]:
        """Makes SearchSlide once; hits come out as they come in, the result at the end."""
        limits = await self.limits()
        feed = Feed(
            _calls.search_messages(
                collection,
                options,
                outgoing.patches(),
                model_fingerprint=model_fingerprint,
                max_message_bytes=limits.max_message_bytes,
            )
        )
        # gRPC sends in a task of its own while this one reads: were it to send everything first,
        # a service that waits for its hits to be read would never read the rest.
        with self._tracing.attempt("SearchService", "SearchSlide") as metadata:
            call = self._search.SearchSlide(
                _in_thread(feed),
                timeout=timeout_s or self._timeouts.search_s,
                metadata=(*metadata, *await self._credential.headers_async()),
            )
            reader = _calls.SearchReader(collection, options, outgoing)
            try:
                async for response in call:
                    for item in reader.read(response):
                        yield item
            except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
                raise self._translated(error, feed) from error
            finally:
                call.cancel()
                await asyncio.shield(asyncio.to_thread(feed.close))
        reader.check_complete()

    def _translated(
        self, error: grpc.aio.AioRpcError | asyncio.CancelledError, feed: Feed[Any] | None = None
    ) -> BaseException:
        """Our error for gRPC's; where making the messages failed, that failure."""
        if feed is not None and feed.error is not None:
            return feed.error
        if isinstance(error, asyncio.CancelledError):
            return error
        return translate(error, target=self.target)


@contextlib.asynccontextmanager
async def open_source(
    source: SlideSource, *, progress: Progress | None = None, query: bool = False
) -> AsyncIterator[OpenSource]:
    """Opens a slide in a thread and closes it in one, also where the task was cancelled."""
    opened = await asyncio.to_thread(OpenSource, source, progress=progress, query=query)
    try:
        yield opened
    finally:
        await asyncio.shield(asyncio.to_thread(opened.close))


async def _in_thread(feed: Feed[_T]) -> AsyncIterator[_T]:
    """The feed's messages, made in a thread: reading a slide must not stall the loop."""
    while (message := await asyncio.to_thread(feed.take)) is not None:
        yield message
