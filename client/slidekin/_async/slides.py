"""The methods about slides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path

from slidekin import _calls
from slidekin._async.caller import open_source
from slidekin._async.methods import AsyncMethods
from slidekin._names import slide_name
from slidekin._outgoing import OutgoingCodes, OutgoingImages, Progress, as_source
from slidekin._types import (
    AddedSlide,
    Codes,
    ExportedSlide,
    ImagePatch,
    Slide,
    SlideFilter,
    SlideSource,
    Thumbnails,
)


class AsyncSlideMethods(AsyncMethods):
    """The calls about slides, awaited."""

    async def add_slide(
        self,
        source: str | Path | SlideSource,
        *,
        collection: str,
        patient_id: str = "",
        label: str = "",
        attributes: Mapping[str, str] | None = None,
        replace: bool = False,
        progress: Progress | None = None,
        timeout_s: float | None = None,
    ) -> AddedSlide:
        """Reads a slide, picks its mosaic and adds it; when this returns, it is on disk.

        See `Client.add_slide`.
        """
        # Asked first, so that an unreachable service is noticed before gigabytes are read.
        limits = await self._caller.limits()
        async with open_source(as_source(source), progress=progress) as opened:
            wanted = await asyncio.to_thread(
                opened.facts,
                slide_name(opened.slide_id, collection),
                patient_id=patient_id,
                label=label,
                attributes=attributes or {},
            )
            held = await self._caller.find_slide(wanted.name)
            if held is not None and _calls.held_already(held, wanted, replace=replace):
                return AddedSlide(held, already_present=True, index_version=0)
            await asyncio.to_thread(opened.pick)
            thumbnail = await asyncio.to_thread(
                opened.thumbnail, max_bytes=limits.max_thumbnail_bytes
            )
            return await self._caller.add(
                wanted,
                opened,
                replace=replace,
                thumbnail=thumbnail,
                timeout_s=timeout_s,
            )

    async def add_slide_codes(
        self,
        slide: Slide,
        codes: Codes,
        *,
        model_fingerprint: str = "",
        replace: bool = False,
        timeout_s: float | None = None,
    ) -> AddedSlide:
        """Adds a slide by ready-made codes.

        See `Client.add_slide_codes`.
        """
        return await self._caller.add(
            slide,
            OutgoingCodes(codes),
            replace=replace,
            model_fingerprint=model_fingerprint,
            timeout_s=timeout_s,
        )

    async def add_slide_images(
        self,
        slide: Slide,
        images: Iterable[ImagePatch],
        *,
        thumbnail: bytes | None = None,
        replace: bool = False,
        timeout_s: float | None = None,
    ) -> AddedSlide:
        """Adds a slide by pictures of its patches, where the caller does the reading.

        See `Client.add_slide_images`.
        """
        return await self._caller.add(
            slide, OutgoingImages(images), replace=replace, thumbnail=thumbnail, timeout_s=timeout_s
        )

    async def get_slide(self, slide: str, *, collection: str | None = None) -> Slide:
        """One slide.

        See `Client.get_slide`.
        """
        return await self._caller.call(_calls.get_slide(slide, collection))

    async def batch_get_slides(
        self, slides: Sequence[str], *, collection: str
    ) -> tuple[Slide, ...]:
        """Up to 1000 slides in the order asked.

        See `Client.batch_get_slides`.
        """
        return await self._caller.call(_calls.batch_get_slides(slides, collection))

    async def list_slides(
        self,
        collection: str,
        *,
        filter: SlideFilter | None = None,  # noqa: A002 - the word of the contract
    ) -> AsyncIterator[Slide]:
        """Slides in order of insertion, page by page.

        See `Client.list_slides`.
        """
        wanted = filter or SlideFilter()
        async for item in self._caller.pages(
            lambda token: _calls.list_slides(collection, wanted, token)
        ):
            yield item

    async def update_slide(
        self,
        slide: str,
        *,
        collection: str | None = None,
        label: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Slide:
        """Changes what is given; None leaves it as it is. Attributes are replaced as a whole.

        See `Client.update_slide`.
        """
        return await self._caller.call(
            _calls.update_slide(slide, collection, label=label, attributes=attributes)
        )

    async def delete_slide(self, slide: str, *, collection: str | None = None) -> int:
        """Deletes a slide from disk and index, and returns how many patches went with it.

        See `Client.delete_slide`.
        """
        return await self._caller.call(_calls.delete_slide(slide, collection))

    async def delete_patient(self, patient_id: str, *, collection: str) -> tuple[str, ...]:
        """Deletes every slide of a patient and returns their names.

        See `Client.delete_patient`.
        """
        return await self._caller.call(_calls.delete_patient(patient_id, collection))

    async def export_slides(
        self,
        collection: str,
        *,
        filter: SlideFilter | None = None,  # noqa: A002 - the word of the contract
        timeout_s: float | None = None,
    ) -> AsyncIterator[ExportedSlide]:
        """Slides with their codes in order of insertion, as they come in.

        See `Client.export_slides`.
        """
        async for item in self._caller.export(collection, filter or SlideFilter(), timeout_s):
            yield item

    async def get_thumbnails(
        self,
        slide: str,
        *,
        collection: str | None = None,
        patch_indices: Sequence[int] = (),
        slide_thumbnail: bool = True,
    ) -> Thumbnails:
        """Pictures kept with a slide.

        See `Client.get_thumbnails`.
        """
        return await self._caller.call(
            _calls.get_thumbnails(
                slide, collection, patch_indices=patch_indices, slide_thumbnail=slide_thumbnail
            )
        )
