"""What strangers may ask for costs the service no more than it costs them."""

from __future__ import annotations

import base64
import hashlib
import struct
from pathlib import Path

import grpc
import numpy as np
import pytest
from tests.fuzz.pictures import picture
from tests.service_calls import Calls, Failure, patch_messages, random_codes
from tests.service_process import ServiceProcess

from slidekin.v1 import collections_pb2, common_pb2, search_pb2, slides_pb2
from slidekin_server.values import PatchCodes


def test_a_thumbnail_asked_for_a_hundred_thousand_times_is_sent_once(calls: Calls) -> None:
    patches = patch_messages(random_codes(1, 2))
    for patch in patches:
        image = common_pb2.Image(format=common_pb2.IMAGE_FORMAT_PNG, data=picture("PNG", side=128))
        patch.thumbnail.CopyFrom(image)
    calls.add("s", patches)
    request = slides_pb2.GetThumbnailsRequest(name=calls.name("s"), patch_indices=[1, 0] * 100_000)
    answer = calls.slides.GetThumbnails(request, timeout=20)
    assert [one.patch_index for one in answer.patch_thumbnails] == [1, 0]


def test_of_very_many_faults_the_first_are_told(calls: Calls) -> None:
    request = search_pb2.SearchPatchesRequest(
        parent=calls.parent,
        options=search_pb2.SearchOptions(filter=common_pb2.SlideFilter(slides=[""] * 500_000)),
    )
    with pytest.raises(grpc.RpcError) as caught:
        calls.searches.SearchPatches(request, timeout=20)
    failure = Failure.of(caught.value)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.fields[0] == "options.filter.slides"
    assert len(failure.fields) <= 100


@pytest.mark.parametrize("name", ["SearchPatches", "SearchStoredSlide"])
def test_hits_that_no_message_holds_are_refused(calls: Calls, name: str) -> None:
    one = random_codes(2, 1)
    same = PatchCodes(
        np.repeat(one.keys, 200), np.repeat(one.textures, 200, 0), np.repeat(one.xy, 200, 0)
    )
    long, other = "a" * 200, "b" * 200
    for slide in (long, other):
        calls.add(slide, same)
    options = search_pb2.SearchOptions(max_hits_per_patch=15_000, mode=common_pb2.SEARCH_MODE_EXACT)
    request: search_pb2.SearchPatchesRequest | search_pb2.SearchStoredSlideRequest
    if name == "SearchPatches":
        request = search_pb2.SearchPatchesRequest(
            parent=calls.parent,
            options=options,
            model_fingerprint=calls.fingerprint,
            patches=patch_messages(same),
        )
    else:
        request = search_pb2.SearchStoredSlideRequest(name=calls.name(long), options=options)
    with pytest.raises(grpc.RpcError) as caught:
        getattr(calls.searches, name)(request, timeout=60)
    assert Failure.of(caught.value).info.reason == "ANSWER_TOO_LARGE"


def test_hits_that_a_message_holds_but_not_with_its_envelope_are_refused(tmp_path: Path) -> None:
    one = random_codes(2, 1)
    same = PatchCodes(
        np.repeat(one.keys, 6000), np.repeat(one.textures, 6000, 0), np.repeat(one.xy, 6000, 0)
    )
    options = {"max_hits_per_patch": 12_000, "mode": common_pb2.SEARCH_MODE_EXACT}
    exact = {"search": {"default_profile": {"exact_limit": 12_000}}}
    with ServiceProcess(tmp_path, exact) as service, service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        for slide in ("a" * 60, "b" * 60):
            calls.add(slide, same)
        size = calls.search(one, **options).bags[0].ByteSize()
    limits = {"max_message_bytes": size, "max_image_bytes": size // 2}
    settings = {**exact, "limits": limits}
    with ServiceProcess(tmp_path, settings) as service, service.channel() as channel:
        for batched in (False, True):
            header, *rest = Calls(channel).questions(one, **options)
            header.header.batch_hits = batched
            with pytest.raises(grpc.RpcError) as caught:
                list(Calls(channel).searches.SearchSlide(iter([header, *rest]), timeout=20))
            assert Failure.of(caught.value).info.reason == "ANSWER_TOO_LARGE"


def test_a_page_behind_the_last_number_is_no_token_of_ours(calls: Calls) -> None:
    scope = hashlib.blake2b(b"collections", digest_size=8).digest()
    forged = base64.urlsafe_b64encode(struct.pack(">BQ8s", 1, 2**64 - 1, scope)).decode()
    request = collections_pb2.ListCollectionsRequest(page_token=forged)
    with pytest.raises(grpc.RpcError) as caught:
        calls.collections.ListCollections(request, timeout=20)
    assert Failure.of(caught.value).info.reason == "INVALID_PAGE_TOKEN"


def test_a_stream_that_is_refused_while_it_is_answered_says_why(calls: Calls) -> None:
    coded, imaged = patch_messages(random_codes(1, 1)), common_pb2.Patch()
    imaged.image.CopyFrom(
        common_pb2.Image(format=common_pb2.IMAGE_FORMAT_PNG, data=picture("PNG", side=64))
    )
    header = search_pb2.SearchSlideHeader(parent=calls.parent, model_fingerprint=calls.fingerprint)
    stream = [
        search_pb2.SearchSlideRequest(header=header),
        search_pb2.SearchSlideRequest(patches=common_pb2.PatchBatch(patches=coded)),
        search_pb2.SearchSlideRequest(patches=common_pb2.PatchBatch(patches=[imaged])),
    ]
    # One in twenty was never told.
    for _ in range(100):
        with pytest.raises(grpc.RpcError) as caught:
            list(calls.searches.SearchSlide(iter(stream), timeout=5))
        assert Failure.of(caught.value).info.reason == "NO_ENCODER"


def test_a_caller_who_leaves_amid_the_hits_is_no_incident(
    service: ServiceProcess, calls: Calls
) -> None:
    codes = random_codes(1, 200)
    calls.add("s", codes)
    header = search_pb2.SearchSlideHeader(parent=calls.parent, model_fingerprint=calls.fingerprint)
    stream = [search_pb2.SearchSlideRequest(header=header)] + [
        search_pb2.SearchSlideRequest(patches=common_pb2.PatchBatch(patches=[patch]))
        for patch in patch_messages(codes)
    ]
    seen = len(service.log.read_bytes())
    for _ in range(100):
        call = calls.searches.SearchSlide(iter(stream), timeout=20)
        next(call)
        call.cancel()
    calls.get()
    log = service.log.read_bytes()[seen:]
    assert log.count(b'"code": "CANCELLED"') > 50
    assert b'"event": "incident"' not in log


def test_a_call_that_ends_without_its_request_is_refused(calls: Calls) -> None:
    method = "/slidekin.v1.CollectionService/GetCollection"
    call = calls.channel.stream_unary(method)
    with pytest.raises(grpc.RpcError) as caught:
        call(iter(()), timeout=20)
    failure = Failure.of(caught.value)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.info.reason == "MALFORMED_MESSAGE"
