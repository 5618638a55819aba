"""CollectionService."""

from __future__ import annotations

from typing import Any

from grpc.aio import ServicerContext

from slidekin.v1 import collections_pb2, collections_pb2_grpc
from slidekin_server.access.roles import may_read
from slidekin_server.api import messages
from slidekin_server.api.validation import (
    MAX_DESCRIPTION_BYTES,
    Checker,
    Page,
    checking,
    collection_id,
    refuse,
    slide_ids,
)
from slidekin_server.archive.archive import Archive
from slidekin_server.archive.collection import View
from slidekin_server.archive.names import slide_name
from slidekin_server.archive.reindex import Reindex, Reindexer
from slidekin_server.archive.served import ServedModels
from slidekin_server.archive.workers import Workers
from slidekin_server.storage import CollectionRecord

_MAX_TEXTURE_BITS = 65536
_MAX_DAMAGED = 100
"""Named in one answer."""
_MUTABLE = frozenset({"display_name", "description"})


class CollectionServicer(collections_pb2_grpc.CollectionServiceServicer):
    """Collections: create, get, list, update, delete."""

    def __init__(
        self, archive: Archive, reindexer: Reindexer, workers: Workers, models: ServedModels
    ) -> None:
        self._archive = archive
        self._reindexer = reindexer
        self._workers = workers
        self._models = models

    async def CreateCollection(  # noqa: N802
        self,
        request: collections_pb2.CreateCollectionRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> collections_pb2.CreateCollectionResponse:
        """Create an empty collection."""
        record = self._record(request.collection)
        view = await self._workers.write(self._archive.create_collection, record)
        return collections_pb2.CreateCollectionResponse(collection=self._message(view))

    async def GetCollection(  # noqa: N802
        self,
        request: collections_pb2.GetCollectionRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> collections_pb2.GetCollectionResponse:
        """Return one collection."""
        view = self._archive.view(collection_id("name", request.name))
        return collections_pb2.GetCollectionResponse(collection=self._message(view))

    async def ListCollections(  # noqa: N802
        self,
        request: collections_pb2.ListCollectionsRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> collections_pb2.ListCollectionsResponse:
        """List the collections that the caller may read, in order of creation."""
        page = Page.of(size=request.page_size, token=request.page_token, scope=b"collections")
        views = [
            view
            for view in self._archive.views()
            if _created_us(view) > page.after and may_read(view.collection.name)
        ]
        shown = views[: page.size]
        return collections_pb2.ListCollectionsResponse(
            collections=[self._message(view) for view in shown],
            next_page_token=page.token(_created_us(shown[-1])) if len(views) > page.size else "",
        )

    async def UpdateCollection(  # noqa: N802
        self,
        request: collections_pb2.UpdateCollectionRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> collections_pb2.UpdateCollectionResponse:
        """Change a collection's texts."""
        name = collection_id("collection.name", request.collection.name)
        with checking() as check:
            fields = check.mask(request.update_mask, _MUTABLE)
            _check_texts(check, request.collection)
        view = await self._workers.write(
            self._archive.update_collection,
            name,
            **{field: getattr(request.collection, field) for field in fields},
        )
        return collections_pb2.UpdateCollectionResponse(collection=self._message(view))

    async def DeleteCollection(  # noqa: N802
        self,
        request: collections_pb2.DeleteCollectionRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> collections_pb2.DeleteCollectionResponse:
        """Delete a collection."""
        name = collection_id("name", request.name)
        deleted = await self._workers.write(
            self._archive.delete_collection, name, force=request.force
        )
        return collections_pb2.DeleteCollectionResponse(deleted_slides=deleted)

    async def StartReindex(  # noqa: N802
        self,
        request: collections_pb2.StartReindexRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> collections_pb2.StartReindexResponse:
        """Begin to give a collection another model."""
        name = collection_id("name", request.name)
        with checking() as check:
            model = self._model(
                check,
                "",
                fingerprint=request.model_fingerprint,
                texture_bits=request.texture_bits,
                threshold_bits=request.hamming_threshold_bits,
            )
        record = CollectionRecord(name, *model)
        reindex = await self._workers.write(self._reindexer.start, record)
        return collections_pb2.StartReindexResponse(reindex=_reindex(reindex))

    async def GetReindex(  # noqa: N802
        self,
        request: collections_pb2.GetReindexRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> collections_pb2.GetReindexResponse:
        """Return how far a reindex is."""
        reindex = self._reindexer.get(collection_id("name", request.name))
        return collections_pb2.GetReindexResponse(reindex=_reindex(reindex))

    async def ListPendingSlides(  # noqa: N802
        self,
        request: collections_pb2.ListPendingSlidesRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> collections_pb2.ListPendingSlidesResponse:
        """List slides that are not encoded anew yet."""
        name = collection_id("parent", request.parent)
        scope = b"pending " + request.parent.encode()
        page = Page.of(size=request.page_size, token=request.page_token, scope=scope)
        records = await self._workers.read(
            self._reindexer.get(name).pending, after=page.after, limit=page.size + 1
        )
        shown = records[: page.size]
        return collections_pb2.ListPendingSlidesResponse(
            slides=[messages.slide(record) for record in shown],
            next_page_token=page.token(shown[-1].number) if len(records) > page.size else "",
        )

    async def FinishReindex(  # noqa: N802
        self,
        request: collections_pb2.FinishReindexRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> collections_pb2.FinishReindexResponse:
        """Put the new codes in the place of the old ones."""
        name = collection_id("name", request.name)
        with checking() as check:
            check.text("model_fingerprint", request.model_fingerprint, required=True)
        drop = set()
        for number, slide in enumerate(request.drop_slides):
            parent, slide_id = slide_ids(f"drop_slides[{number}]", slide)
            if parent != name:
                raise refuse(f"drop_slides[{number}]", f"{slide!r} is of another collection")
            drop.add(slide_id)
        view, dropped = await self._workers.write(
            self._reindexer.finish, name, request.model_fingerprint, drop=drop
        )
        return collections_pb2.FinishReindexResponse(
            collection=self._message(view),
            dropped_slides=[slide_name(name, slide) for slide in dropped],
        )

    async def CancelReindex(  # noqa: N802
        self,
        request: collections_pb2.CancelReindexRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> collections_pb2.CancelReindexResponse:
        """Throw away what was encoded anew."""
        name = collection_id("name", request.name)
        discarded = await self._workers.write(self._reindexer.cancel, name)
        return collections_pb2.CancelReindexResponse(discarded_slides=discarded)

    def _message(self, view: View) -> collections_pb2.Collection:
        draft = self._reindexer.draft_model(view.collection.name)
        return messages.collection(view, reindex_fingerprint=draft)

    def _record(self, message: collections_pb2.Collection) -> CollectionRecord:
        """Return what to create, completed from the served models.

        Raises:
            InvalidRequestError: With every fault found.
        """
        name = collection_id("collection.name", message.name)
        with checking() as check:
            _check_texts(check, message)
            model = self._model(
                check,
                "collection.",
                fingerprint=message.model_fingerprint,
                texture_bits=message.texture_bits,
                threshold_bits=message.hamming_threshold_bits,
            )
        return CollectionRecord(name, *model, message.display_name, message.description)

    def _model(
        self,
        check: Checker,
        prefix: str,
        *,
        fingerprint: str,
        texture_bits: int,
        threshold_bits: int,
    ) -> tuple[str, int, int]:
        """Return fingerprint, bits and threshold, completed from the served models.

        Args:
            check: Takes the faults.
            prefix: Of the fields' names.
            fingerprint: As stated; empty: the active model's.
            texture_bits: As stated; 0: the model's.
            threshold_bits: As stated; 0: the model's.
        """
        model = self._models.find(fingerprint) if fingerprint else self._models.active()
        if model is not None:
            fingerprint = model.bundle.fingerprint
            threshold_bits = threshold_bits or model.bundle.hamming_threshold_bits
        if not fingerprint:
            check.fault(
                f"{prefix}model_fingerprint",
                "must be stated: this service serves no model of its own",
            )
        check.text(f"{prefix}model_fingerprint", fingerprint)
        texture_bits = texture_bits or (0 if model is None else model.bundle.texture_bits)
        for field, value in (
            ("texture_bits", texture_bits),
            ("hamming_threshold_bits", threshold_bits),
        ):
            if not value:
                check.fault(f"{prefix}{field}", "must be stated for a model that is not served")
        if texture_bits and not (0 < texture_bits <= _MAX_TEXTURE_BITS and not texture_bits % 64):
            check.fault(
                f"{prefix}texture_bits",
                f"{texture_bits} is not a multiple of 64 up to {_MAX_TEXTURE_BITS}",
            )
        elif model is not None and texture_bits != model.bundle.texture_bits:
            check.fault(
                f"{prefix}texture_bits",
                f"{texture_bits} is not {model.bundle.texture_bits}, the width that model makes",
            )
        elif threshold_bits:
            check.in_range(
                f"{prefix}hamming_threshold_bits", threshold_bits, 1, texture_bits or threshold_bits
            )
        return fingerprint, texture_bits, threshold_bits


def _check_texts(check: Checker, message: collections_pb2.Collection) -> None:
    check.text("collection.display_name", message.display_name)
    check.text(
        "collection.description",
        message.description,
        max_bytes=MAX_DESCRIPTION_BYTES,
        lines=True,
    )


def _created_us(view: View) -> int:
    """Return when a collection was created, in microseconds: later ones have greater numbers."""
    created = view.collection.create_time
    assert created is not None, "set by the store"
    return round(created.timestamp() * 1e6)


def _reindex(reindex: Reindex) -> collections_pb2.Reindex:
    draft = reindex.draft
    held = reindex.view.facts
    done = sum(slide_id in held.by_id for slide_id in draft.facts.by_id)
    name = reindex.view.collection.name
    return collections_pb2.Reindex(
        collection=reindex.view.name,
        model_fingerprint=draft.collection.fingerprint,
        texture_bits=draft.collection.texture_bits,
        hamming_threshold_bits=draft.collection.hamming_threshold_bits,
        done_slide_count=done,
        pending_slide_count=len(held) - done,
        create_time=messages.timestamp(draft.collection.create_time),
        damaged_slides=[slide_name(name, slide) for slide in reindex.view.damaged][:_MAX_DAMAGED],
    )
