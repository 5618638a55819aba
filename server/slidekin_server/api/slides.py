"""SlideService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from grpc.aio import ServicerContext

from slidekin.v1 import slides_pb2, slides_pb2_grpc
from slidekin_server.api import messages
from slidekin_server.api.options import OptionsReader, read_filter
from slidekin_server.api.patches import PatchReader, picture
from slidekin_server.api.streams import StreamEnd, batches, first
from slidekin_server.api.validation import (
    MAX_PAGE_SIZE,
    Page,
    checking,
    collection_id,
    refuse,
    slide_ids,
)
from slidekin_server.archive.archive import Added, Archive
from slidekin_server.archive.errors import (
    ModelChangedError,
    NotFoundError,
    slides_not_found,
)
from slidekin_server.archive.ingest import Incoming, SlideIngest
from slidekin_server.archive.names import ANY_COLLECTION, collection_name, slide_name
from slidekin_server.archive.patches import PatchSource, stack
from slidekin_server.archive.reindex import Reindexer, slide_changed
from slidekin_server.archive.served import ServedModels
from slidekin_server.archive.workers import Workers
from slidekin_server.config import Limits
from slidekin_server.storage import CollectionRecord, SlideFacts
from slidekin_server.telemetry import Metrics, note

_MUTABLE = frozenset({"label", "attributes"})
_MAX_MPP = 1000.0
_MAX_PX = 2**31 - 1


class SlideServicer(slides_pb2_grpc.SlideServiceServicer):
    """Slides: add, get, list, update, delete, export."""

    def __init__(
        self,
        archive: Archive,
        ingest: SlideIngest,
        reindexer: Reindexer,
        workers: Workers,
        metrics: Metrics,
        *,
        limits: Limits,
        options: OptionsReader,
        models: ServedModels,
    ) -> None:
        self._archive = archive
        self._ingest = ingest
        self._reindexer = reindexer
        self._workers = workers
        self._metrics = metrics
        self._limits = limits
        self._options = options
        self._models = models

    async def AddSlide(  # noqa: N802
        self,
        request_iterator: AsyncIterator[slides_pb2.AddSlideRequest],
        context: ServicerContext[Any, Any],
    ) -> slides_pb2.AddSlideResponse:
        """Add one slide: stored and visible on return, or not at all."""
        stream = aiter(request_iterator)
        header = (await first(stream)).header
        if header.for_reindex:
            return await self._add_to_reindex(header, stream, context)
        collection, incoming = self._incoming(header)
        added = self._ingest.recognise(collection, incoming)
        if added is not None:
            return _added(added)
        reader = PatchReader(
            self._limits,
            size_px=(incoming.facts.width_px, incoming.facts.height_px),
            pictures=incoming.patch_pictures,
        )
        source = self._source(self._archive.view(collection).collection, header, context)
        end = StreamEnd()
        patches = await self._ingest.encode(
            collection, incoming, batches(stream, reader, self._metrics, end=end), source
        )
        end.require(slide_name(collection, incoming.facts.slide_id), received=len(patches))
        return _added(
            await self._ingest.store(collection, incoming, patches, fingerprint=source.fingerprint)
        )

    async def _add_to_reindex(
        self,
        header: slides_pb2.AddSlideHeader,
        stream: AsyncIterator[slides_pb2.AddSlideRequest],
        context: ServicerContext[Any, Any],
    ) -> slides_pb2.AddSlideResponse:
        """Encode a slide anew: stored on return, for the day its collection's reindex ends."""
        collection, slide = slide_ids("header.slide.name", header.slide.name)
        note(slide=slide)
        reindex = self._reindexer.get(collection)
        held = reindex.view.slide(slide)
        if header.slide.content_digest not in ("", held.content_digest):
            raise slide_changed(slide_name(collection, slide))
        facts = held.facts
        added = self._reindexer.held_already(reindex, slide)
        if added is None:
            reader = PatchReader(self._limits, size_px=(facts.width_px, facts.height_px))
            source = self._source(
                replace(reindex.draft.collection, name=collection), header, context
            )
            end = StreamEnd()
            patches = await self._ingest.encode(
                collection,
                Incoming(facts, replace=False),
                batches(stream, reader, self._metrics, end=end),
                source,
            )
            end.require(slide_name(collection, slide), received=len(patches))
            added = await self._workers.write(
                self._reindexer.add_slide, reindex, slide, stack(patches)
            )
        record = replace(added.record, collection=collection)
        return _added(replace(added, record=record))

    def _source(
        self,
        collection: CollectionRecord,
        header: slides_pb2.AddSlideHeader,
        context: ServicerContext[Any, Any],
    ) -> PatchSource:
        note(fingerprint=collection.fingerprint)
        return PatchSource(
            collection,
            models=self._models,
            stated_fingerprint=header.model_fingerprint,
            time_left_s=context.time_remaining,
            exact_profile=self._options.exact_profile("header.profile", header.profile),
        )

    async def GetSlide(  # noqa: N802
        self,
        request: slides_pb2.GetSlideRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> slides_pb2.GetSlideResponse:
        """Return one slide."""
        collection, slide = slide_ids("name", request.name)
        note(slide=slide)
        record = self._archive.view(collection).slide(slide)
        return slides_pb2.GetSlideResponse(slide=messages.slide(record))

    async def BatchGetSlides(  # noqa: N802
        self,
        request: slides_pb2.BatchGetSlidesRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> slides_pb2.BatchGetSlidesResponse:
        """Return several slides in the order asked."""
        collection = collection_id("parent", request.parent)
        if len(request.names) > MAX_PAGE_SIZE:
            raise refuse("names", f"has {len(request.names)} entries; at most {MAX_PAGE_SIZE}")
        wanted = []
        for number, name in enumerate(request.names):
            parent, slide = slide_ids(f"names[{number}]", name)
            if parent != collection:
                raise refuse(f"names[{number}]", f"{name!r} is of another collection")
            wanted.append(slide)
        facts = self._archive.view(collection).facts
        records = [(slide, facts.find(slide)) for slide in wanted]
        missing = tuple(slide_name(collection, slide) for slide, held in records if held is None)
        if missing:
            raise slides_not_found(missing)
        return slides_pb2.BatchGetSlidesResponse(
            slides=[messages.slide(record) for _, record in records if record is not None]
        )

    async def ListSlides(  # noqa: N802
        self,
        request: slides_pb2.ListSlidesRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> slides_pb2.ListSlidesResponse:
        """List slides in order of insertion."""
        collection = collection_id("parent", request.parent)
        scope = request.parent.encode() + request.filter.SerializeToString(deterministic=True)
        page = Page.of(size=request.page_size, token=request.page_token, scope=scope)
        slide_filter = read_filter(request.filter, collection_id=collection)
        records = await self._workers.read(
            self._archive.view(collection).facts.select,
            slide_filter,
            after=page.after,
            limit=page.size + 1,
        )
        shown = records[: page.size]
        return slides_pb2.ListSlidesResponse(
            slides=[messages.slide(record) for record in shown],
            next_page_token=page.token(shown[-1].number) if len(records) > page.size else "",
        )

    async def UpdateSlide(  # noqa: N802
        self,
        request: slides_pb2.UpdateSlideRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> slides_pb2.UpdateSlideResponse:
        """Change a slide's label or attributes."""
        collection, slide = slide_ids("slide.name", request.slide.name)
        note(slide=slide)
        attributes = dict(request.slide.attributes)
        with checking() as check:
            fields = check.mask(request.update_mask, _MUTABLE)
            check.text("slide.label", request.slide.label)
            check.attributes("slide.attributes", attributes)
        record = await self._workers.write(
            self._archive.update_slide,
            collection,
            slide,
            label=request.slide.label if "label" in fields else None,
            attributes=attributes if "attributes" in fields else None,
        )
        return slides_pb2.UpdateSlideResponse(slide=messages.slide(record))

    async def DeleteSlide(  # noqa: N802
        self,
        request: slides_pb2.DeleteSlideRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> slides_pb2.DeleteSlideResponse:
        """Delete one slide."""
        collection, slide = slide_ids("name", request.name)
        note(slide=slide)
        record = await self._workers.write(self._archive.delete_slide, collection, slide)
        return slides_pb2.DeleteSlideResponse(deleted_patches=record.patch_count)

    async def DeletePatient(  # noqa: N802
        self,
        request: slides_pb2.DeletePatientRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> slides_pb2.DeletePatientResponse:
        """Delete every slide of a patient."""
        collection = collection_id("parent", request.parent, allow_any=True)
        with checking() as check:
            check.text("patient_id", request.patient_id, required=True)
        note(patient=request.patient_id)
        deleted = await self._workers.write(
            self._archive.delete_patient,
            request.patient_id,
            collection_id=None if collection == ANY_COLLECTION else collection,
        )
        note(slides=len(deleted))
        return slides_pb2.DeletePatientResponse(
            deleted_slides=[slide_name(r.collection, r.facts.slide_id) for r in deleted]
        )

    async def ExportSlides(  # noqa: N802
        self,
        request: slides_pb2.ExportSlidesRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> AsyncIterator[slides_pb2.ExportSlidesResponse]:
        """Stream slides with their codes; those deleted meanwhile are left out."""
        collection = collection_id("parent", request.parent)
        slide_filter = read_filter(request.filter, collection_id=collection)
        view = self._archive.view(collection)
        for record in await self._workers.read(view.facts.select, slide_filter):
            try:
                now, stored = await self._workers.read(
                    self._archive.stored, collection, record.facts.slide_id
                )
            except NotFoundError:
                continue
            if now.collection.fingerprint != view.collection.fingerprint:
                raise ModelChangedError(collection_name(collection))
            yield slides_pb2.ExportSlidesResponse(
                slide=messages.slide(stored.record),
                patches=await self._workers.read(messages.patch_batch, stored.codes),
                model_fingerprint=view.collection.fingerprint,
            )

    async def GetThumbnails(  # noqa: N802
        self,
        request: slides_pb2.GetThumbnailsRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> slides_pb2.GetThumbnailsResponse:
        """Return the thumbnails kept with a slide."""
        collection, slide = slide_ids("name", request.name)
        note(slide=slide)
        patch_count = self._archive.view(collection).slide(slide).patch_count
        with checking() as check:
            for position, index in enumerate(request.patch_indices):
                check.in_range(f"patch_indices[{position}]", index, 0, patch_count - 1)
        # Each once: a request has room for millions of numbers, memory not for as many pictures.
        wanted = list(dict.fromkeys(request.patch_indices))
        whole, patches = await self._workers.read(
            self._archive.pictures,
            collection,
            slide,
            patches=wanted,
            slide=request.slide_thumbnail,
            most_bytes=self._limits.max_message_bytes,
        )
        response = slides_pb2.GetThumbnailsResponse(
            slide_thumbnail=None if whole is None else messages.image(whole),
            patch_thumbnails=[
                slides_pb2.PatchThumbnail(
                    patch_index=index, thumbnail=messages.image(patches[index])
                )
                for index in wanted
                if index in patches
            ],
        )
        if response.ByteSize() > self._limits.max_message_bytes:
            raise refuse("patch_indices", "their thumbnails do not fit a message; ask for fewer")
        return response

    def _incoming(self, header: slides_pb2.AddSlideHeader) -> tuple[str, Incoming]:
        """Return the collection's id and what the header says of the slide."""
        slide = header.slide
        collection, slide_id = slide_ids("header.slide.name", slide.name)
        note(slide=slide_id)
        if slide.patient_id:
            note(patient=slide.patient_id)
        attributes = dict(slide.attributes)
        with checking() as check:
            check.text("header.slide.patient_id", slide.patient_id)
            check.text("header.slide.label", slide.label)
            check.attributes("header.slide.attributes", attributes)
            check.digest("header.slide.source_digest", slide.source_digest)
            for field in ("width_px", "height_px", "patch_size_px"):
                check.in_range(f"header.slide.{field}", getattr(slide, field), 0, _MAX_PX)
            check.in_range("header.slide.mpp", slide.mpp, 0.0, _MAX_MPP)
            whole = None
            if header.HasField("thumbnail"):
                whole = picture(check, "header.thumbnail", header.thumbnail, self._limits)
        facts = SlideFacts(
            slide_id=slide_id,
            patient_id=slide.patient_id,
            label=slide.label,
            attributes=attributes,
            width_px=slide.width_px,
            height_px=slide.height_px,
            mpp=slide.mpp,
            patch_size_px=slide.patch_size_px,
            source_digest=slide.source_digest,
        )
        return collection, Incoming(facts, header.replace, whole)


def _added(added: Added) -> slides_pb2.AddSlideResponse:
    note(index_version=added.index_version)
    return slides_pb2.AddSlideResponse(
        slide=messages.slide(added.record),
        already_present=added.already_present,
        index_version=added.index_version,
    )
