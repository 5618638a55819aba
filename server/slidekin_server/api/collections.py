"""CollectionService."""

from __future__ import annotations

from typing import Any

from grpc.aio import ServicerContext

from slidekin.v1 import collections_pb2, collections_pb2_grpc
from slidekin_server.api import messages
from slidekin_server.api.validation import (
    MAX_DESCRIPTION_BYTES,
    Checker,
    Page,
    checking,
    collection_id,
)
from slidekin_server.archive.archive import Archive
from slidekin_server.archive.collection import View
from slidekin_server.archive.patches import ServedModel
from slidekin_server.archive.workers import Workers
from slidekin_server.storage import CollectionRecord

_MAX_TEXTURE_BITS = 65536
_MUTABLE = frozenset({"display_name", "description"})


class CollectionServicer(collections_pb2_grpc.CollectionServiceServicer):
    """Collections: create, get, list, update, delete."""

    def __init__(self, archive: Archive, workers: Workers, model: ServedModel | None) -> None:
        self._archive = archive
        self._workers = workers
        self._model = model

    async def CreateCollection(  # noqa: N802
        self,
        request: collections_pb2.CreateCollectionRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> collections_pb2.CreateCollectionResponse:
        """Create an empty collection."""
        record = self._record(request.collection)
        view = await self._workers.write(self._archive.create_collection, record)
        return collections_pb2.CreateCollectionResponse(collection=messages.collection(view))

    async def GetCollection(  # noqa: N802
        self,
        request: collections_pb2.GetCollectionRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> collections_pb2.GetCollectionResponse:
        """Return one collection."""
        view = self._archive.view(collection_id("name", request.name))
        return collections_pb2.GetCollectionResponse(collection=messages.collection(view))

    async def ListCollections(  # noqa: N802
        self,
        request: collections_pb2.ListCollectionsRequest,
        context: ServicerContext[Any, Any],  # noqa: ARG002
    ) -> collections_pb2.ListCollectionsResponse:
        """List collections in order of creation."""
        page = Page.of(size=request.page_size, token=request.page_token, scope=b"collections")
        views = [view for view in self._archive.views() if _created_us(view) > page.after]
        shown = views[: page.size]
        return collections_pb2.ListCollectionsResponse(
            collections=[messages.collection(view) for view in shown],
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
        return collections_pb2.UpdateCollectionResponse(collection=messages.collection(view))

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

    def _record(self, message: collections_pb2.Collection) -> CollectionRecord:
        """Return what to create, completed from the served model.

        Raises:
            InvalidRequestError: With every fault found.
        """
        name = collection_id("collection.name", message.name)
        model = self._model
        fingerprint = message.model_fingerprint or (model.fingerprint if model else "")
        served = model if model is not None and model.fingerprint == fingerprint else None
        texture_bits = message.texture_bits or (served.texture_bits if served else 0)
        threshold = message.hamming_threshold_bits or (
            served.hamming_threshold_bits if served else 0
        )
        with checking() as check:
            _check_texts(check, message)
            if not fingerprint:
                check.fault(
                    "collection.model_fingerprint",
                    "must be stated: this service serves no model of its own",
                )
            check.text("collection.model_fingerprint", fingerprint)
            for field, value in (
                ("texture_bits", texture_bits),
                ("hamming_threshold_bits", threshold),
            ):
                if not value:
                    check.fault(
                        f"collection.{field}",
                        "must be stated for a model other than the one that is served",
                    )
            if texture_bits and not (
                0 < texture_bits <= _MAX_TEXTURE_BITS and not texture_bits % 64
            ):
                check.fault(
                    "collection.texture_bits",
                    f"{texture_bits} is not a multiple of 64 up to {_MAX_TEXTURE_BITS}",
                )
            elif served is not None and texture_bits != served.texture_bits:
                check.fault(
                    "collection.texture_bits",
                    f"{texture_bits} is not {served.texture_bits}, the width that model makes",
                )
            elif threshold:
                check.in_range(
                    "collection.hamming_threshold_bits", threshold, 1, texture_bits or threshold
                )
        return CollectionRecord(
            name=name,
            fingerprint=fingerprint,
            texture_bits=texture_bits,
            hamming_threshold_bits=threshold,
            display_name=message.display_name,
            description=message.description,
        )


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
