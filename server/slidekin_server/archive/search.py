"""Searches: hits of each patch while the stream runs, ranked slides at its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from slidekin_server.admission import current_ticket
from slidekin_server.archive.archive import Archive
from slidekin_server.archive.collection import View
from slidekin_server.archive.errors import InvalidArgumentError
from slidekin_server.archive.options import QueryOptions, SlideFilter
from slidekin_server.archive.patches import CodedPatch, Patch, PatchSource, stack, unstack
from slidekin_server.archive.pipeline import CODES_PER_CHUNK, Pipeline
from slidekin_server.archive.ranked import RankedAnswer, rank_slides
from slidekin_server.archive.workers import Workers
from slidekin_server.index import Admitted, search_patch
from slidekin_server.index import SearchOptions as IndexOptions
from slidekin_server.telemetry import Metrics, Stage, traced
from slidekin_server.values import Bag, SearchMode

_T = TypeVar("_T")
_F = TypeVar("_F")


@dataclass(frozen=True, slots=True, eq=False)
class PatchAnswer:
    """The hits of one query patch."""

    patch: CodedPatch
    bag: Bag


@dataclass(frozen=True, slots=True)
class Timings:
    """How a search spent its time, in seconds. The first two are sums over patches."""

    total_s: float
    encode_s: float
    search_s: float
    rank_s: float


@dataclass(frozen=True, slots=True, eq=False)
class SlideAnswer:
    """The final result of a search for slides."""

    view: View
    """The version in which every patch was searched; it names the slides."""
    ranked: RankedAnswer
    patches: tuple[PatchAnswer, ...]
    """By index."""
    timings: Timings


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """The operator's settings for every search."""

    min_hits: int = 1
    """HYBRID: a patch with fewer guided hits is searched exactly."""
    exact_limit: int = 100
    """Most hits of one patch in an exact scan."""
    scan_threads: int = 1
    """Threads that share one exact scan."""


class Searcher:
    """Searches collections; each call uses one version from its first patch to its last."""

    def __init__(
        self,
        archive: Archive,
        workers: Workers,
        metrics: Metrics,
        pipeline: Pipeline,
        settings: SearchSettings,
    ) -> None:
        self._archive = archive
        self._workers = workers
        self._metrics = metrics
        self._pipeline = pipeline
        self._settings = settings

    async def slides(
        self,
        view: View,
        options: QueryOptions,
        batches: AsyncIterable[Sequence[Patch]],
        source: PatchSource,
        *,
        make: Callable[[Sequence[PatchAnswer]], _T],
        emit: Callable[[_T], Awaitable[None]],
        finish: Callable[[SlideAnswer], _F],
    ) -> _F:
        """Find slides similar to the one that is streamed in.

        Args:
            view: The collection.
            options: The search's options.
            batches: The query's patches as they arrive.
            source: Turns patches into codes.
            make: Turns the answers of patches into what ``emit`` gets, in the thread that
                searched them.
            emit: Called as soon as patches were searched, in any order.
            finish: Turns the answer into what is returned, in the thread that ranked it.

        Raises:
            ArchiveError: The query or one of its patches was refused.
            EncodingError: A patch could not be encoded.
        """
        query = await self._begin(view, options)
        await query.run(self._pipeline, batches, source, make=make, emit=emit)
        return await query.rank(finish)

    async def stored_slide(
        self,
        collection_id: str,
        slide_id: str,
        options: QueryOptions,
        *,
        finish: Callable[[SlideAnswer], _F],
    ) -> _F:
        """Find slides similar to one in the collection, which is itself left out.

        Args:
            collection_id: The collection.
            slide_id: The slide.
            options: The search's options.
            finish: As in ``slides``.

        Raises:
            NotLoadedError, NotFoundError: The collection or the slide is not available.
            StorageError: The slide could not be read.
        """
        view, stored = await self._workers.read(self._archive.stored, collection_id, slide_id)
        left_out = options.filter.exclude_slide_ids | {slide_id}
        options = replace(options, filter=replace(options.filter, exclude_slide_ids=left_out))
        query = await self._begin(view, options)
        await query.search_all(list(unstack(stored.codes)))
        return await query.rank(finish)

    async def patches(
        self, view: View, options: QueryOptions, patches: Sequence[Patch], source: PatchSource
    ) -> list[PatchAnswer]:
        """Find patches similar to the given ones, in their order. Raises as ``slides``."""
        query = await self._begin(view, options)

        async def once() -> AsyncIterable[Sequence[Patch]]:
            yield patches

        await query.run(self._pipeline, once(), source, make=_nothing, emit=_ignore)
        return query.answers()

    async def _begin(self, view: View, options: QueryOptions) -> _Query:
        admitted = None
        if options.filter != SlideFilter():
            # This visits every slide that the filter names: not on the event loop.
            admitted = await self._workers.search(view.facts.admitted, options.filter)
        return _Query(
            view,
            options,
            admitted=admitted,
            settings=self._settings,
            workers=self._workers,
            metrics=self._metrics,
        )


def _nothing(_: Sequence[PatchAnswer]) -> None:
    """Make nothing of answers: they are read at the end."""


async def _ignore(_: None) -> None:
    pass


class _Query:
    """One search in progress."""

    def __init__(
        self,
        view: View,
        options: QueryOptions,
        *,
        admitted: Admitted | None,
        settings: SearchSettings,
        workers: Workers,
        metrics: Metrics,
    ) -> None:
        self._started = time.perf_counter()
        self._view = view
        self._options = options
        self._settings = settings
        self._workers = workers
        self._metrics = metrics
        stated = options.hamming_threshold_bits
        self._threshold_bits = view.collection.hamming_threshold_bits if stated is None else stated
        self._admitted = admitted
        self._index_options = IndexOptions(
            mode=options.mode,
            guided=replace(options.guided, hamming_threshold_bits=self._threshold_bits),
            min_hits=settings.min_hits,
            exact_limit=settings.exact_limit,
            exact_max_distance_bits=self._threshold_bits,
        )
        self._answers: dict[int, PatchAnswer] = {}
        self._encode_s = 0.0
        self._search_s = 0.0

    async def run(
        self,
        pipeline: Pipeline,
        batches: AsyncIterable[Sequence[Patch]],
        source: PatchSource,
        *,
        make: Callable[[Sequence[PatchAnswer]], _T],
        emit: Callable[[_T], Awaitable[None]],
    ) -> None:
        """Encode and search the patches of a stream."""

        async def code(chunk: Sequence[Patch]) -> list[CodedPatch]:
            started = time.perf_counter()
            coded = await source.codes(chunk)
            self._encode_s += time.perf_counter() - started
            return coded

        async def search(coded: list[CodedPatch]) -> None:
            await emit(await self._search(coded, make))

        await pipeline.run(batches, code, search)

    async def search_all(self, patches: Sequence[CodedPatch]) -> None:
        """Search patches whose codes are known."""
        # A scan reads the index once for all patches that it is given together.
        scanned = self._options.mode is SearchMode.EXACT
        step = max(1, len(patches)) if scanned else CODES_PER_CHUNK
        for start in range(0, len(patches), step):
            await self._search(patches[start : start + step], _nothing)

    def answers(self) -> list[PatchAnswer]:
        """Return the answers so far, by index of their patches."""
        return [self._answers[index] for index in sorted(self._answers)]

    async def rank(self, finish: Callable[[SlideAnswer], _F]) -> _F:
        """Rank the slides that were hit, and return what ``finish`` makes of the answer."""
        answers = self.answers()
        if not answers:
            raise InvalidArgumentError(
                "patches", "the query has none; there is nothing to look for", reason="EMPTY_QUERY"
            )

        def work() -> tuple[SlideAnswer, _F]:
            # In one call: every trip to a thread is another wait for a turn.
            started = time.perf_counter()
            with self._metrics.stage(Stage.RANK):
                ranked = rank_slides(
                    self._view,
                    [answer.bag for answer in answers],
                    stack([answer.patch for answer in answers]),
                    self._options,
                    admitted=self._admitted,
                    threshold_bits=self._threshold_bits,
                    scan_threads=self._settings.scan_threads,
                )
            ended = time.perf_counter()
            timings = Timings(
                total_s=ended - self._started,
                encode_s=self._encode_s,
                search_s=self._search_s,
                rank_s=ended - started,
            )
            answer = SlideAnswer(self._view, ranked, tuple(answers), timings)
            return answer, finish(answer)

        with traced(Stage.RANK.value, patches=len(answers)):
            answer, finished = await self._workers.search(work)
        short = len(answer.ranked.slides) < self._options.k
        self._metrics.searches.labels(self._options.mode.value, str(short).lower()).inc()
        return finished

    async def _search(
        self, patches: Sequence[CodedPatch], make: Callable[[Sequence[PatchAnswer]], _T]
    ) -> _T:
        """Search patches, and return what ``make`` makes of their answers."""

        def work() -> tuple[list[PatchAnswer], float, _T]:
            started = time.perf_counter()
            bags = self._bags(patches)
            seconds = time.perf_counter() - started
            answers = [PatchAnswer(patch, bag) for patch, bag in zip(patches, bags, strict=True)]
            return answers, seconds, make(answers)

        with traced(Stage.SEARCH.value, patches=len(patches), mode=self._options.mode.value):
            answers, seconds, made = await self._workers.search(work)
        self._search_s += seconds
        self._answers |= {answer.patch.index: answer for answer in answers}
        for mode, count in Counter(answer.bag.mode for answer in answers).items():
            self._metrics.patches_searched.labels(mode.value).inc(count)
        self._metrics.observe_stage(Stage.SEARCH, seconds / len(answers), times=len(answers))
        return made

    def _bags(self, patches: Sequence[CodedPatch]) -> list[Bag]:
        """Return the patches' bags; runs in a thread."""
        ticket = current_ticket()
        snapshot, options = self._view.snapshot, self._index_options
        if options.mode is SearchMode.EXACT:
            # Together: the index is read once for all of them.
            bags = snapshot.exact(
                stack(patches).textures,
                limit=options.exact_limit,
                max_distance_bits=options.exact_max_distance_bits,
                admitted=self._admitted,
                threads=self._settings.scan_threads,
            )
        else:
            bags = []
            for patch in patches:
                ticket.require_wanted("all its patches were searched")
                code = patch.code
                bags.append(
                    search_patch(snapshot, code.key, code.texture, options, admitted=self._admitted)
                )
        return bags
