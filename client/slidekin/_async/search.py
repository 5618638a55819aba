"""The methods that search."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path

from slidekin import _calls
from slidekin._async.caller import open_source
from slidekin._async.methods import AsyncMethods
from slidekin._outgoing import OutgoingCodes, OutgoingImages, Progress, as_source
from slidekin._types import (
    Codes,
    ImagePatch,
    PatchHits,
    PatchSearchResult,
    SearchOptions,
    SearchResult,
    SlideSource,
)


class AsyncSearchMethods(AsyncMethods):
    """The calls that search, awaited."""

    async def search_slide(
        self,
        source: str | Path | SlideSource,
        *,
        collection: str,
        k: int | None = None,
        options: SearchOptions | None = None,
        on_patch_hits: Callable[[PatchHits], None] | None = None,
        progress: Progress | None = None,
        timeout_s: float | None = None,
    ) -> SearchResult:
        """Finds slides that look like a slide on disk, or like a region of it.

        See `Client.search_slide`.
        """
        await self._caller.limits()  # an unreachable service is noticed before the slide is read
        async with open_source(as_source(source), progress=progress, query=True) as opened:
            mosaic = await asyncio.to_thread(opened.pick)

            def tell(hits: PatchHits) -> None:
                answered.add(hits.query_patch_index)
                if progress is not None:
                    progress("search", len(answered), len(mosaic.positions))
                if on_patch_hits is not None:
                    on_patch_hits(hits)

            answered: set[int] = set()
            return await self._caller.search_all(
                opened,
                collection,
                _calls.with_k(options, k),
                on_patch_hits=tell,
                timeout_s=timeout_s,
            )

    async def search_codes(
        self,
        codes: Codes,
        *,
        collection: str,
        k: int | None = None,
        options: SearchOptions | None = None,
        model_fingerprint: str = "",
        on_patch_hits: Callable[[PatchHits], None] | None = None,
        timeout_s: float | None = None,
    ) -> SearchResult:
        """Finds slides that look like one given by ready-made codes.

        See `Client.search_codes`.
        """
        return await self._caller.search_all(
            OutgoingCodes(codes),
            collection,
            _calls.with_k(options, k),
            model_fingerprint=model_fingerprint,
            on_patch_hits=on_patch_hits,
            timeout_s=timeout_s,
        )

    async def search_images(
        self,
        images: Iterable[ImagePatch],
        *,
        collection: str,
        k: int | None = None,
        options: SearchOptions | None = None,
        on_patch_hits: Callable[[PatchHits], None] | None = None,
        timeout_s: float | None = None,
    ) -> SearchResult:
        """Finds slides that look like one given by pictures of its patches.

        See `Client.search_images`.
        """
        return await self._caller.search_all(
            OutgoingImages(images),
            collection,
            _calls.with_k(options, k),
            on_patch_hits=on_patch_hits,
            timeout_s=timeout_s,
        )

    async def stream_search(
        self,
        query: str | Path | SlideSource | Codes | Iterable[ImagePatch],
        *,
        collection: str,
        k: int | None = None,
        options: SearchOptions | None = None,
        model_fingerprint: str = "",
        timeout_s: float | None = None,
    ) -> AsyncIterator[PatchHits | SearchResult]:
        """A search whose hits are handed out as they come in; the result is the last item.

        See `Client.stream_search`.
        """
        wanted = _calls.with_k(options, k)
        if isinstance(query, str | Path | SlideSource):
            async with open_source(as_source(query), query=True) as opened:
                await asyncio.to_thread(opened.pick)
                answers = self._caller.search_once(opened, collection, wanted, timeout_s=timeout_s)
                async with contextlib.aclosing(answers):
                    async for answer in answers:
                        yield answer
            return
        outgoing = OutgoingCodes(query) if isinstance(query, Codes) else OutgoingImages(query)
        answers = self._caller.search_once(
            outgoing, collection, wanted, model_fingerprint=model_fingerprint, timeout_s=timeout_s
        )
        async with contextlib.aclosing(answers):
            async for answer in answers:
                yield answer

    async def search_stored_slide(
        self,
        slide: str,
        *,
        collection: str | None = None,
        k: int | None = None,
        options: SearchOptions | None = None,
        timeout_s: float | None = None,
    ) -> SearchResult:
        """Finds slides that look like one the collection holds; that one is left out.

        See `Client.search_stored_slide`.
        """
        call = _calls.search_stored_slide(slide, collection, _calls.with_k(options, k))
        return await self._caller.call(call, timeout_s)

    async def search_patches(
        self,
        patches: Codes | Sequence[ImagePatch],
        *,
        collection: str,
        options: SearchOptions | None = None,
        model_fingerprint: str = "",
        timeout_s: float | None = None,
    ) -> PatchSearchResult:
        """Finds patches that look like the given ones, without a ranking of slides.

        See `Client.search_patches`.
        """
        call = _calls.search_patches(
            patches,
            collection,
            options=options or SearchOptions(),
            model_fingerprint=model_fingerprint,
        )
        return await self._caller.call(call, timeout_s)
