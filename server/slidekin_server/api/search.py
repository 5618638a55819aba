"""SearchService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message
from grpc.aio import ServicerContext

from slidekin.v1 import search_pb2, search_pb2_grpc
from slidekin_server.api import messages
from slidekin_server.api.options import OptionsReader
from slidekin_server.api.patches import PatchReader
from slidekin_server.api.patience import Patience
from slidekin_server.api.streams import batches, first
from slidekin_server.api.validation import (
    InvalidRequestError,
    collection_id,
    refuse,
    slide_ids,
)
from slidekin_server.archive.archive import Archive
from slidekin_server.archive.collection import View
from slidekin_server.archive.options import QueryOptions
from slidekin_server.archive.patches import PatchSource
from slidekin_server.archive.search import PatchAnswer, Searcher, SlideAnswer
from slidekin_server.archive.served import ServedModels
from slidekin_server.archive.workers import Workers
from slidekin_server.config import Limits
from slidekin_server.telemetry import Metrics, note

_M = TypeVar("_M", bound=Message)


class SearchServicer(search_pb2_grpc.SearchServiceServicer):
    """Searches for slides and for patches."""

    def __init__(
        self,
        archive: Archive,
        searcher: Searcher,
        workers: Workers,
        metrics: Metrics,
        *,
        limits: Limits,
        options: OptionsReader,
        patience: Patience,
        models: ServedModels,
    ) -> None:
        self._archive = archive
        self._searcher = searcher
        self._workers = workers
        self._metrics = metrics
        self._limits = limits
        self._options = options
        self._patience = patience
        self._models = models

    async def SearchSlide(  # type: ignore[override]  # noqa: N802  writes its answers itself
        self,
        request_iterator: AsyncIterator[search_pb2.SearchSlideRequest],
        context: ServicerContext[Any, Any],
    ) -> None:
        """Find slides that look like the one streamed in."""
        stream = aiter(request_iterator)
        header = (await first(stream)).header
        view = self._archive.view(collection_id("header.parent", header.parent))
        options = self._read(view, header.options)
        # Answers come from several tasks; a call takes one message at a time.
        writing = asyncio.Lock()

        def make(answers: Sequence[PatchAnswer]) -> list[search_pb2.SearchSlideResponse]:
            hits = self._bags(view, answers, options, together=False)
            responses = (
                messages.batched_hits(hits)
                if header.batch_hits
                else [search_pb2.SearchSlideResponse(patch_hits=one) for one in hits]
            )
            return [self._fitting(response) for response in responses]

        async def emit(responses: Sequence[search_pb2.SearchSlideResponse]) -> None:
            async with writing:
                for response in responses:
                    await self._patience.write(context, response)

        def finish(answer: SlideAnswer) -> search_pb2.SearchSlideResponse:
            ranked = self._ranked(answer, options)
            return self._fitting(search_pb2.SearchSlideResponse(ranked_slides=ranked))

        await self._patience.begin(context)
        response = await self._searcher.slides(
            view,
            options,
            batches(stream, PatchReader(self._limits), self._metrics),
            self._source(view, header.model_fingerprint, options, context),
            make=make,
            emit=emit,
            finish=finish,
        )
        await self._patience.write(context, response)

    async def SearchStoredSlide(  # noqa: N802
        self,
        request: search_pb2.SearchStoredSlideRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> search_pb2.SearchStoredSlideResponse:
        """Find slides that look like one the collection holds."""
        collection, slide = slide_ids("name", request.name)
        note(slide=slide)
        options = self._read(self._archive.view(collection), request.options)

        def finish(answer: SlideAnswer) -> search_pb2.SearchStoredSlideResponse:
            hits = self._bags(answer.view, answer.patches, options, together=True)
            ranked = self._ranked(answer, options)
            return self._fitting(
                search_pb2.SearchStoredSlideResponse(ranked_slides=ranked, patch_hits=hits)
            )

        response = await self._searcher.stored_slide(collection, slide, options, finish=finish)
        ranked = response.ranked_slides
        note(patches=ranked.query_patch_count, index_version=ranked.index_version)
        return response

    async def SearchPatches(  # noqa: N802
        self, request: search_pb2.SearchPatchesRequest, context: ServicerContext[Any, Any]
    ) -> search_pb2.SearchPatchesResponse:
        """Find patches that look like the given ones."""
        view = self._archive.view(collection_id("parent", request.parent))
        options = self._read(view, request.options)
        self._metrics.patches_per_message.observe(len(request.patches))
        patches = PatchReader(self._limits).read(request.patches)
        if not patches:
            raise refuse("patches", "there are none; there is nothing to look for")
        source = self._source(view, request.model_fingerprint, options, context)
        answers = await self._searcher.patches(view, options, patches, source)
        return self._fitting(
            search_pb2.SearchPatchesResponse(
                patch_hits=await self._workers.search(
                    self._bags, view, answers, options, together=True
                ),
                index_version=view.version,
                model_fingerprint=view.collection.fingerprint,
                random_weights=self._random_weights(view),
            )
        )

    def _bags(
        self,
        view: View,
        answers: Sequence[PatchAnswer],
        options: QueryOptions,
        *,
        together: bool,
    ) -> list[search_pb2.PatchHits]:
        """Return hits as messages. Runs in a thread: there may be thousands.

        Args:
            view: What was searched.
            answers: The patches' hits.
            options: Of the search.
            together: They travel in one message, else in one each.

        Raises:
            InvalidRequestError: They are more than a message takes.
        """
        hits = (
            messages.patch_hits(view, answer, most=options.max_hits_per_patch) for answer in answers
        )
        return self._made(hits, together=together)

    def _ranked(self, answer: SlideAnswer, options: QueryOptions) -> search_pb2.RankedSlides:
        """Return the ranking as a message. Runs in a thread: there may be much evidence.

        Raises:
            InvalidRequestError: It is more than a message takes.
        """
        slides = (
            messages.ranked_slide(answer, rank, listed)
            for rank, listed in enumerate(answer.ranked.slides, start=1)
        )
        made = self._made(slides, together=True)
        random_weights = self._random_weights(answer.view)
        return messages.ranked_slides(answer, options, made, random_weights=random_weights)

    def _made(self, parts: Iterable[_M], *, together: bool) -> list[_M]:
        """Return messages as they are made, as long as they fit.

        Counted meanwhile: of ten thousand patches there may be millions of hits.

        Args:
            parts: Makes them.
            together: They travel in one message, else in one each.

        Raises:
            InvalidRequestError: They do not fit.
        """
        made, size = [], 0
        for part in parts:
            size = part.ByteSize() + (size if together else 0)
            if size > self._limits.max_message_bytes:
                raise self._too_large()
            made.append(part)
        return made

    def _fitting(self, message: _M) -> _M:
        """Return an answer that fits a message.

        Raises:
            InvalidRequestError: It does not.
        """
        if message.ByteSize() > self._limits.max_message_bytes:
            raise self._too_large()
        return message

    def _too_large(self) -> InvalidRequestError:
        return refuse(
            "options",
            f"the answer exceeds {self._limits.max_message_bytes} bytes; ask for fewer slides, "
            "hits a patch or evidence a slide",
            reason="ANSWER_TOO_LARGE",
        )

    def _read(self, view: View, message: search_pb2.SearchOptions) -> QueryOptions:
        options = self._options.read(
            message,
            collection_id=view.collection.name,
            texture_bits=view.collection.texture_bits,
        )
        fingerprint = view.collection.fingerprint
        note(mode=options.mode.value, index_version=view.version, fingerprint=fingerprint)
        return options

    def _source(
        self,
        view: View,
        stated_fingerprint: str,
        options: QueryOptions,
        context: ServicerContext[Any, Any],
    ) -> PatchSource:
        return PatchSource(
            view.collection,
            models=self._models,
            stated_fingerprint=stated_fingerprint,
            time_left_s=context.time_remaining,
            exact_profile=options.exact_profile,
        )

    def _random_weights(self, view: View) -> bool:
        model = self._models.find(view.collection.fingerprint)
        return model is not None and model.bundle.random_weights
