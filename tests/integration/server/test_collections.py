"""Collections, over a real socket."""

from __future__ import annotations

import grpc
import pytest
from tests.service_calls import (
    FINGERPRINT,
    TEXTURE_BITS,
    THRESHOLD_BITS,
    Calls,
    Failure,
    random_codes,
)

from slidekin.v1 import collections_pb2


def test_a_collection_comes_back_as_it_was_created(empty: Calls) -> None:
    created = empty.create(display_name="Colon", description="Two lines,\nboth kept.")
    assert created.name == empty.parent
    assert created.model_fingerprint == FINGERPRINT
    assert created.texture_bits == TEXTURE_BITS
    assert created.hamming_threshold_bits == THRESHOLD_BITS
    assert created.display_name == "Colon"
    assert created.description == "Two lines,\nboth kept."
    assert (created.slide_count, created.patch_count) == (0, 0)
    assert created.create_time.seconds > 0
    assert empty.get() == created


def test_creating_an_equal_collection_again_returns_it(calls: Calls) -> None:
    calls.add("a", random_codes(1))
    assert calls.create().slide_count == 1


def test_creating_a_differing_collection_is_refused_by_name(calls: Calls) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        calls.create(texture_bits=256)
    failure = Failure.of(caught.value)
    assert failure.code is grpc.StatusCode.ALREADY_EXISTS
    assert failure.info.reason == "COLLECTION_ALREADY_EXISTS"
    assert failure.info.domain == "slidekin"
    assert failure.resource.resource_name == calls.parent
    assert "texture_bits" in failure.message


def test_texts_can_be_changed_one_by_one(calls: Calls) -> None:
    def update(paths: list[str], **texts: str) -> collections_pb2.Collection:
        request = collections_pb2.UpdateCollectionRequest(
            collection=collections_pb2.Collection(name=calls.parent, **texts)
        )
        request.update_mask.paths.extend(paths)
        return calls.collections.UpdateCollection(request).collection

    assert update(["display_name"], display_name="Lung", description="-").display_name == "Lung"
    assert calls.get().description == ""
    assert update(["description"], description="left").description == "left"
    assert calls.get().display_name == "Lung"
    both = update([], display_name="Liver")
    assert (both.display_name, both.description) == ("Liver", "")


def test_collections_are_listed_page_by_page_in_order_of_creation(channel: grpc.Channel) -> None:
    created = []
    for number in range(5):
        calls = Calls(channel, f"paged-{number}")
        calls.create()
        created.append(calls.parent)
    listed, token, pages = [], "", 0
    while True:
        page = Calls(channel).collections.ListCollections(
            collections_pb2.ListCollectionsRequest(page_size=2, page_token=token)
        )
        assert len(page.collections) <= 2
        listed += [collection.name for collection in page.collections]
        token, pages = page.next_page_token, pages + 1
        if not token:
            break
    assert pages >= 3
    assert [name for name in listed if name in created] == created
    assert len(set(listed)) == len(listed)


def test_a_collection_with_slides_is_deleted_only_by_force(calls: Calls) -> None:
    calls.add("a", random_codes(1))
    with pytest.raises(grpc.RpcError) as caught:
        calls.collections.DeleteCollection(
            collections_pb2.DeleteCollectionRequest(name=calls.parent)
        )
    failure = Failure.of(caught.value)
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert failure.info.reason == "COLLECTION_NOT_EMPTY"
    assert failure.precondition.violations[0].subject == calls.parent
    deleted = calls.collections.DeleteCollection(
        collections_pb2.DeleteCollectionRequest(name=calls.parent, force=True)
    )
    assert deleted.deleted_slides == 1
    with pytest.raises(grpc.RpcError) as caught:
        calls.get()
    failure = Failure.of(caught.value)
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert failure.resource.resource_name == calls.parent
    calls.create()
    assert calls.held() == []


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("collection.name", {"name": ""}),
        ("collection.name", {"name": "collections/"}),
        ("collection.name", {"name": "collections/-"}),
        ("collection.name", {"name": "collections/a/slides/b"}),
        ("collection.name", {"name": "collections/" + "a" * 129}),
        ("collection.name", {"name": "collections/ümlaut"}),
        ("collection.texture_bits", {"texture_bits": 100}),
        ("collection.texture_bits", {"texture_bits": -64}),
        ("collection.texture_bits", {"texture_bits": 0}),
        ("collection.texture_bits", {"texture_bits": 2**30}),
        ("collection.hamming_threshold_bits", {"hamming_threshold_bits": 0}),
        ("collection.hamming_threshold_bits", {"hamming_threshold_bits": -1}),
        ("collection.hamming_threshold_bits", {"hamming_threshold_bits": TEXTURE_BITS + 1}),
        ("collection.model_fingerprint", {"model_fingerprint": ""}),
        ("collection.model_fingerprint", {"model_fingerprint": "x" * 300}),
        ("collection.display_name", {"display_name": "line\nbreak"}),
        ("collection.description", {"description": "x" * 5000}),
    ],
)
def test_a_collection_that_makes_no_sense_is_refused_with_the_field(
    empty: Calls, field: str, changes: dict[str, object]
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        empty.create(**changes)
    failure = Failure.of(caught.value)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in failure.fields


def test_fields_that_cannot_change_are_refused(calls: Calls) -> None:
    request = collections_pb2.UpdateCollectionRequest(
        collection=collections_pb2.Collection(name=calls.parent, texture_bits=256)
    )
    request.update_mask.paths.append("texture_bits")
    with pytest.raises(grpc.RpcError) as caught:
        calls.collections.UpdateCollection(request)
    assert Failure.of(caught.value).fields == ["update_mask"]


@pytest.mark.parametrize(("size", "token"), [(-1, ""), (0, "nonsense"), (0, "ä"), (0, "AAAA")])
def test_paging_that_makes_no_sense_is_refused(calls: Calls, size: int, token: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        calls.collections.ListCollections(
            collections_pb2.ListCollectionsRequest(page_size=size, page_token=token)
        )
    assert Failure.of(caught.value).fields == ["page_token" if token else "page_size"]
