"""The calls about collections."""

from __future__ import annotations

from google.protobuf.field_mask_pb2 import FieldMask

from slidekin import _wire
from slidekin._calls.call import PAGE_SIZE, Call, Page, given_fields
from slidekin._names import collection_name
from slidekin._types import Collection
from slidekin.v1 import collections_pb2


def create_collection(wanted: Collection) -> Call[Collection]:
    request = collections_pb2.CreateCollectionRequest(
        collection=collections_pb2.Collection(
            name=wanted.name,
            display_name=wanted.display_name,
            description=wanted.description,
            model_fingerprint=wanted.model_fingerprint,
            texture_bits=wanted.texture_bits,
            hamming_threshold_bits=wanted.hamming_threshold_bits,
        )
    )
    return Call("CollectionService", "CreateCollection", request, _collection)


def get_collection(collection: str) -> Call[Collection]:
    request = collections_pb2.GetCollectionRequest(name=collection_name(collection))
    return Call("CollectionService", "GetCollection", request, _collection)


def list_collections(page_token: str) -> Call[Page[Collection]]:
    def page(response: collections_pb2.ListCollectionsResponse) -> Page[Collection]:
        return Page(
            tuple(_wire.to_collection(entry) for entry in response.collections),
            response.next_page_token,
        )

    request = collections_pb2.ListCollectionsRequest(page_size=PAGE_SIZE, page_token=page_token)
    return Call("CollectionService", "ListCollections", request, page)


def update_collection(
    collection: str, *, display_name: str | None, description: str | None
) -> Call[Collection]:
    changed = given_fields(display_name=display_name, description=description)
    request = collections_pb2.UpdateCollectionRequest(
        collection=collections_pb2.Collection(name=collection_name(collection), **changed),
        update_mask=FieldMask(paths=list(changed)),
    )
    return Call("CollectionService", "UpdateCollection", request, _collection)


def delete_collection(collection: str, *, force: bool) -> Call[int]:
    request = collections_pb2.DeleteCollectionRequest(name=collection_name(collection), force=force)
    return Call(
        "CollectionService",
        "DeleteCollection",
        request,
        lambda response: int(response.deleted_slides),
        repeatable=False,
    )


def _collection(
    response: collections_pb2.CreateCollectionResponse
    | collections_pb2.GetCollectionResponse
    | collections_pb2.UpdateCollectionResponse,
) -> Collection:
    return _wire.to_collection(response.collection)
