"""The client for programs with an event loop; of the same shape as `Client`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from slidekin import _calls
from slidekin._async_caller import AsyncCaller, open_source
from slidekin._credentials import AsyncToken, Credential
from slidekin._names import collection_name, slide_name
from slidekin._outgoing import (
    OutgoingCodes,
    OutgoingImages,
    Progress,
    as_source,
)
from slidekin._reread import RereadSource, gone_meanwhile, held_id
from slidekin._tracing import CallTracing
from slidekin._transport import DEFAULT_TARGET
from slidekin._types import (
    AddedSlide,
    Codes,
    Collection,
    ExportedSlide,
    ImagePatch,
    PatchHits,
    PatchSearchResult,
    Reindex,
    Retry,
    SearchOptions,
    SearchResult,
    Slide,
    SlideFilter,
    SlideSource,
    Snapshot,
    Status,
    Thumbnails,
    Timeouts,
    Tls,
)

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


class AsyncClient:
    """Talks to a slidekin service from one event loop; slides are read in threads beside it.

    Methods, arguments and errors are those of `Client`, awaited; listings and streams are
    asynchronous iterators. Callbacks for progress may be called from another thread.

    Args:
        target: Address of the service, ``host:port``. Several replicas are used in turns: a list
            ``host:port,host:port``, or a name with several addresses (``dns:///service:50051``).
        tls: Encrypt, and how. None: plain text, for this machine or a trusted network.
        api_key: Says who is calling: a key made by ``slidekin-server keys create``.
        token: Says it instead: a bearer token of the identity provider, or a function that returns
            one. A function is asked before every call, so let it keep its token until that expires.
            A coroutine function is awaited, any other is called in a thread.
        plaintext_credentials: Send key or token unencrypted, too, to another machine. Only where
            something else closes the way there.
        timeouts: How long calls may take where a call states nothing else.
        retry: How often a call that may be repeated is made again.
        tracer_provider: Makes a span of each attempt of a call. None: the one that the program has
            set up for OpenTelemetry, if any.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        tls: Tls | None = None,
        api_key: str | None = None,
        token: AsyncToken | None = None,
        plaintext_credentials: bool = False,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        self._caller = AsyncCaller(
            target,
            tls=tls,
            credential=Credential(
                api_key,
                token,
                target=target,
                encrypted=tls is not None,
                plaintext=plaintext_credentials,
            ),
            timeouts=timeouts,
            retry=retry,
            tracing=CallTracing(tracer_provider),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def target(self) -> str:
        """Address of the service."""
        return self._caller.target

    async def close(self) -> None:
        """Closes the connection; calls under way are cancelled."""
        await self._caller.close()

    async def status(self) -> Status:
        """What the service serves, in which state, and within which limits."""
        return await self._caller.call(_calls.get_status())

    # Snapshots.

    async def create_snapshot(self, *, timeout_s: float | None = None) -> Snapshot:
        """Has the service copy its store, while it is in use, and check the copy.

        See `Client.create_snapshot`.
        """
        return await self._caller.call(_calls.create_snapshot(), timeout_s)

    async def list_snapshots(self) -> list[Snapshot]:
        """The service's snapshots, newest first. See `Client.list_snapshots`."""
        return await self._caller.call(_calls.list_snapshots())

    async def check_snapshot(self, snapshot: str, *, timeout_s: float | None = None) -> Snapshot:
        """Has the service look at every byte of a snapshot. See `Client.check_snapshot`."""
        return await self._caller.call(_calls.check_snapshot(snapshot), timeout_s)

    # Collections.

    async def create_collection(
        self,
        collection: str,
        *,
        display_name: str = "",
        description: str = "",
        model_fingerprint: str = "",
        texture_bits: int = 0,
        hamming_threshold_bits: int = 0,
    ) -> Collection:
        """Creates an empty collection; one that is there already and equal is returned.

        See `Client.create_collection`.
        """
        wanted = Collection(
            name=collection_name(collection),
            display_name=display_name,
            description=description,
            model_fingerprint=model_fingerprint,
            texture_bits=texture_bits,
            hamming_threshold_bits=hamming_threshold_bits,
        )
        return await self._caller.call(_calls.create_collection(wanted))

    async def get_collection(self, collection: str) -> Collection:
        """One collection.

        See `Client.get_collection`.
        """
        return await self._caller.call(_calls.get_collection(collection))

    async def list_collections(self) -> AsyncIterator[Collection]:
        """All collections in order of creation, page by page.

        See `Client.list_collections`.
        """
        async for item in self._caller.pages(_calls.list_collections):
            yield item

    async def update_collection(
        self, collection: str, *, display_name: str | None = None, description: str | None = None
    ) -> Collection:
        """Changes what is given; None leaves it as it is.

        See `Client.update_collection`.
        """
        return await self._caller.call(
            _calls.update_collection(collection, display_name=display_name, description=description)
        )

    async def delete_collection(self, collection: str, *, force: bool = False) -> int:
        """Deletes a collection and returns how many slides went with it.

        See `Client.delete_collection`.
        """
        return await self._caller.call(_calls.delete_collection(collection, force=force))

    # Reindex.

    async def start_reindex(
        self,
        collection: str,
        *,
        model_fingerprint: str = "",
        texture_bits: int = 0,
        hamming_threshold_bits: int = 0,
    ) -> Reindex:
        """Begins to give a collection another model. See `Client.start_reindex`."""
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
        """Slides that are not encoded anew yet. See `Client.list_pending_slides`."""
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
        """Encodes a held slide anew from its file.

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
        """Gives a held slide new codes by ready-made ones.

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
        """Puts the new codes in the place of the old ones. See `Client.finish_reindex`."""
        call = _calls.finish_reindex(collection, model_fingerprint, drop_slides)
        return await self._caller.call(call, timeout_s)

    async def cancel_reindex(self, collection: str) -> int:
        """Ends a reindex. See `Client.cancel_reindex`."""
        return await self._caller.call(_calls.cancel_reindex(collection))

    # Slides.

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
        # Asked first: nobody there is said before a slide of gigabytes is read.
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

    # Search.

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
        await self._caller.limits()  # nobody there is said before the slide is read
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
