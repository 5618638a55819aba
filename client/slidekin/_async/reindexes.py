"""The methods that give a collection another model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from slidekin import _calls
from slidekin._async.slides import AsyncSlideMethods
from slidekin._names import slide_name
from slidekin._outgoing import OutgoingCodes, Progress, as_source
from slidekin._reread import RereadSource, gone_meanwhile, held_id
from slidekin._types import AddedSlide, Codes, Collection, Reindex, Slide, SlideFilter, SlideSource


class AsyncReindexMethods(AsyncSlideMethods):
    """The calls that give a collection another model, awaited."""

    async def start_reindex(
        self,
        collection: str,
        *,
        model_fingerprint: str = "",
        texture_bits: int = 0,
        hamming_threshold_bits: int = 0,
    ) -> Reindex:
        """Begins to move a collection to another model. See `Client.start_reindex`."""
        return await self._caller.call(
            _calls.start_reindex(
                collection,
                model_fingerprint=model_fingerprint,
                texture_bits=texture_bits,
                hamming_threshold_bits=hamming_threshold_bits,
            )
        )

    async def get_reindex(self, collection: str) -> Reindex:
        """How far a reindex is. See `Client.get_reindex`."""
        return await self._caller.call(_calls.get_reindex(collection))

    async def list_pending_slides(self, collection: str) -> AsyncIterator[Slide]:
        """Slides that have no new codes yet. See `Client.list_pending_slides`."""
        async for item in self._caller.pages(
            lambda token: _calls.list_pending_slides(collection, token)
        ):
            yield item

    async def reindex_slide(
        self,
        source: str | Path | SlideSource,
        *,
        collection: str,
        unverified: bool = False,
        progress: Progress | None = None,
        timeout_s: float | None = None,
    ) -> AddedSlide:
        """Encodes a stored slide again from its file.

        See `Client.reindex_slide`.
        """
        wanted = as_source(source)
        held = await self.get_slide(held_id(wanted), collection=collection)
        exported = self.export_slides(collection, filter=SlideFilter(slides=(held.name,)))
        async for stored in exported:
            reread = await asyncio.to_thread(
                RereadSource,
                wanted,
                stored.slide,
                stored.codes,
                unverified=unverified,
                progress=progress,
            )
            try:
                return await self._caller.add(
                    stored.slide, reread, replace=False, for_reindex=True, timeout_s=timeout_s
                )
            finally:
                await asyncio.shield(asyncio.to_thread(reread.close))
        raise gone_meanwhile(held)

    async def reindex_slide_codes(
        self,
        slide: str,
        codes: Codes,
        *,
        collection: str | None = None,
        model_fingerprint: str,
        timeout_s: float | None = None,
    ) -> AddedSlide:
        """Gives a stored slide ready-made new codes.

        See `Client.reindex_slide_codes`.
        """
        return await self._caller.add(
            Slide(slide_name(slide, collection)),
            OutgoingCodes(codes),
            replace=False,
            model_fingerprint=model_fingerprint,
            for_reindex=True,
            timeout_s=timeout_s,
        )

    async def finish_reindex(
        self,
        collection: str,
        *,
        model_fingerprint: str,
        drop_slides: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> Collection:
        """Replaces the old codes by the new ones. See `Client.finish_reindex`."""
        call = _calls.finish_reindex(collection, model_fingerprint, drop_slides)
        return await self._caller.call(call, timeout_s)

    async def cancel_reindex(self, collection: str) -> int:
        """Ends a reindex. See `Client.cancel_reindex`."""
        return await self._caller.call(_calls.cancel_reindex(collection))
