"""A collection is given another model while it is searched: old or new, whole, and nothing lost."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from tests.service_calls import Calls, Failure, patch_messages, random_codes
from tests.service_process import ServiceProcess
from tests.unit.server.made_bundles import picture

from slidekin import (
    Client,
    Codes,
    FailedPreconditionError,
    InvalidRequestError,
    NotFoundError,
    SearchOptions,
    SearchResult,
    Slide,
    UnavailableError,
)
from slidekin.v1 import common_pb2, slides_pb2
from slidekin_server.failpoints import VARIABLE, Failpoint

OLD, NEW = "a" * 64, "b" * 64
BITS = {OLD: 128, NEW: 256}
SLIDES = [f"s{number}" for number in range(6)]

_numbers = itertools.count()


def codes(model: str, slide: str, version: int = 0) -> Codes:
    """A slide's codes by a model; its patches lie at the same places whatever the model."""
    seed = zlib.crc32(f"{slide} {version}".encode())
    places = random_codes(seed).xy
    made = random_codes(seed + BITS[model], texture_bits=BITS[model])
    return Codes(made.keys, made.textures, places)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path_factory.mktemp("reindex")) as running:
        yield running


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[Client]:
    with Client(service.url) as client:
        yield client


@pytest.fixture
def held(client: Client) -> str:
    """A collection of six slides by the old model."""
    name = f"held-{next(_numbers)}"
    fill(client, name, OLD)
    return name


def fill(client: Client, collection: str, model: str) -> None:
    client.create_collection(
        collection,
        model_fingerprint=model,
        texture_bits=BITS[model],
        hamming_threshold_bits=BITS[model] * 3 // 4,
    )
    for number, slide in enumerate(SLIDES):
        add(client, collection, model, slide, patient_id=f"p{number // 2}")


def add(
    client: Client, collection: str, model: str, slide: str, *, version: int = 0, **facts: object
) -> None:
    stated = Slide(
        f"collections/{collection}/slides/{slide}",
        label="AB"[SLIDES.index(slide) % 2] if slide in SLIDES else "C",
        attributes={"version": str(version)},
        mpp=0.5,
        patch_size_px=1024,
    )
    client.add_slide_codes(
        dataclasses.replace(stated, **facts),
        codes(model, slide, version),
        model_fingerprint=model,
        replace=version > 0,
    )


def start(client: Client, collection: str, model: str = NEW) -> None:
    client.start_reindex(
        collection,
        model_fingerprint=model,
        texture_bits=BITS[model],
        hamming_threshold_bits=BITS[model] * 3 // 4,
    )


def encode(client: Client, collection: str, slides: Sequence[str], model: str = NEW) -> None:
    for slide in slides:
        version = int(client.get_slide(slide, collection=collection).attributes["version"])
        client.reindex_slide_codes(
            slide, codes(model, slide, version), collection=collection, model_fingerprint=model
        )


def pending(client: Client, collection: str) -> list[str]:
    return [slide.slide_id for slide in client.list_pending_slides(collection)]


def content(client: Client, collection: str) -> dict[str, object]:
    """All that is held of a collection, but for what a fresh one cannot share."""
    found = {}
    for entry in client.export_slides(collection):
        facts = dataclasses.replace(entry.slide, name="", create_time=None)
        arrays = (entry.codes.keys, entry.codes.textures, entry.codes.xy)
        found[entry.slide.slide_id] = (
            facts,
            [array.tolist() for array in arrays],
            entry.model_fingerprint,
        )
    return found


def ranking(result: SearchResult) -> list[tuple[str, int]]:
    return [(found.slide.slide_id, found.hamming_distance_bits) for found in result.slides]


def searched(client: Client, collection: str, slide: str) -> list[tuple[str, int]]:
    options = SearchOptions(k=5, mode="exact")
    result = client.search_stored_slide(slide, collection=collection, options=options)
    return ranking(result)


def test_after_the_swap_it_equals_a_collection_made_with_the_new_model(
    client: Client, held: str
) -> None:
    fill(client, f"{held}-fresh", NEW)
    before = client.get_collection(held)
    times = {slide.slide_id: slide.create_time for slide in client.list_slides(held)}
    start(client, held)
    assert client.get_collection(held).reindex_model_fingerprint == NEW
    encode(client, held, SLIDES)
    assert client.get_reindex(held).done_slide_count == len(SLIDES)
    assert content(client, held)["s0"][2] == OLD, "nothing shows before the end"
    after = client.finish_reindex(held, model_fingerprint=NEW)
    assert content(client, held) == content(client, f"{held}-fresh")
    for slide in SLIDES:
        assert searched(client, held, slide) == searched(client, f"{held}-fresh", slide)
    assert (after.model_fingerprint, after.texture_bits) == (NEW, 256)
    assert after.hamming_threshold_bits == 192
    assert after.create_time == before.create_time
    assert after.index_version > before.index_version
    assert after.reindex_model_fingerprint == ""
    assert {slide.slide_id: slide.create_time for slide in client.list_slides(held)} == times
    assert client.finish_reindex(held, model_fingerprint=NEW) == after, "may be asked again"


def test_a_draft_is_seen_nowhere(client: Client, held: str) -> None:
    before = client.status()
    start(client, held)
    encode(client, held, SLIDES[:3])
    now = client.status()
    assert now.collection_count == before.collection_count
    assert (now.slide_count, now.patch_count) == (before.slide_count, before.patch_count)
    assert not [one for one in client.list_collections() if "draft" in one.name]
    with pytest.raises(InvalidRequestError):
        client.get_collection(f".draft.{held}")


def test_searches_go_on_and_see_the_old_codes_or_the_new_ones_whole(
    client: Client, service: ServiceProcess, held: str
) -> None:
    fill(client, f"{held}-fresh", NEW)
    expected = {
        model: {slide: searched(client, name, slide) for slide in SLIDES}
        for model, name in ((OLD, held), (NEW, f"{held}-fresh"))
    }
    over = threading.Event()
    seen: list[str] = []

    def search() -> None:
        options = SearchOptions(k=5, mode="exact")
        with Client(service.url) as mine:
            for slide in itertools.cycle(SLIDES):
                if over.is_set():
                    return
                result = mine.search_stored_slide(slide, collection=held, options=options)
                assert ranking(result) == expected[result.model_fingerprint][slide]
                seen.append(result.model_fingerprint)

    with ThreadPoolExecutor(3) as pool:
        searches = [pool.submit(search) for _ in range(3)]
        for model in (NEW, OLD, NEW, OLD, NEW):
            start(client, held, model)
            encode(client, held, SLIDES, model)
            client.finish_reindex(held, model_fingerprint=model)
        over.set()
        for one in searches:
            one.result(60)
    assert {OLD, NEW} == set(seen)


def test_what_changes_meanwhile_is_not_lost(client: Client, held: str) -> None:
    start(client, held)
    encode(client, held, SLIDES)
    add(client, held, OLD, "late", patient_id="p9")
    add(client, held, OLD, "s1", version=1, patient_id="p0")
    client.update_slide("s2", collection=held, label="changed", attributes={"version": "0"})
    client.delete_slide("s3", collection=held)
    assert client.delete_patient("p2", collection=held)
    assert sorted(pending(client, held)) == ["late", "s1"]
    with pytest.raises(FailedPreconditionError, match="late, s1") as raised:
        client.finish_reindex(held, model_fingerprint=NEW)
    assert raised.value.reason == "REINDEX_INCOMPLETE"
    assert client.get_collection(held).model_fingerprint == OLD
    encode(client, held, ["late", "s1"])
    client.finish_reindex(held, model_fingerprint=NEW)
    now = content(client, held)
    assert sorted(now) == ["late", "s0", "s1", "s2"]
    assert now["s1"][1][0] == codes(NEW, "s1", 1).keys.tolist()
    assert now["s2"][0].label == "changed"


def test_slides_are_dropped_only_by_name(client: Client, held: str) -> None:
    start(client, held)
    encode(client, held, SLIDES[:4])
    with pytest.raises(FailedPreconditionError, match=r"1 slides .* s5"):
        client.finish_reindex(held, model_fingerprint=NEW, drop_slides=["s4", "s0"])
    client.finish_reindex(held, model_fingerprint=NEW, drop_slides=["s4", "s5", "s0"])
    assert sorted(content(client, held)) == SLIDES[:4], "what is encoded is not dropped"


def test_pictures_stay_with_their_slides(client: Client, service: ServiceProcess) -> None:
    with service.channel() as channel:
        calls = Calls(channel, f"pictures-{next(_numbers)}", fingerprint=OLD)
        calls.create()
        whole = common_pb2.Image(format=common_pb2.IMAGE_FORMAT_PNG, data=picture(8, 8))
        patches = patch_messages(random_codes(1))
        small = common_pb2.Image(format=common_pb2.IMAGE_FORMAT_PNG, data=picture(4, 4, seed=1))
        patches[2].thumbnail.CopyFrom(small)
        calls.add("s", patches, thumbnail=whole)
    start(client, calls.collection)
    made = random_codes(2, texture_bits=256)
    client.reindex_slide_codes(
        "s",
        Codes(made.keys, made.textures, random_codes(1).xy),
        collection=calls.collection,
        model_fingerprint=NEW,
    )
    client.finish_reindex(calls.collection, model_fingerprint=NEW)
    found = client.get_thumbnails("s", collection=calls.collection, patch_indices=[1, 2])
    assert (found.slide, found.patches) == (whole.data, {2: small.data})


def test_a_slide_added_across_the_swap_is_asked_for_again(
    client: Client, service: ServiceProcess, held: str
) -> None:
    start(client, held)
    encode(client, held, SLIDES)
    swapped = threading.Event()
    with service.channel() as channel:
        calls = Calls(channel, held, fingerprint=OLD)
        messages = list(calls.additions("across", random_codes(9)))

        def slowly() -> Iterator[slides_pb2.AddSlideRequest]:
            yield from messages[:-1]
            assert swapped.wait(60)
            yield messages[-1]

        call = calls.slides.AddSlide.future(slowly(), timeout=60)
        # Answered after the stream's header was read: the view it took is of the old model.
        calls.search(random_codes(9), k=1)
        client.finish_reindex(held, model_fingerprint=NEW)
        swapped.set()
        with pytest.raises(grpc.RpcError) as raised:
            call.result(60)
    failure = Failure.of(raised.value)
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert failure.info.reason in {"MODEL_CHANGED", "MODEL_FINGERPRINT_MISMATCH"}
    with pytest.raises(NotFoundError):
        client.get_slide("across", collection=held)


@pytest.mark.parametrize(
    "point",
    [
        Failpoint.REINDEX_SWAPPING,
        Failpoint.BEFORE_COMMIT,
        Failpoint.AFTER_COMMIT,
        Failpoint.BEFORE_ERASURE,
        Failpoint.BEFORE_PUBLISH,
        Failpoint.AFTER_PUBLISH,
    ],
    ids=lambda point: point.value,
)
def test_a_service_killed_at_the_swap_holds_the_old_whole_or_the_new(
    tmp_path: Path, point: Failpoint
) -> None:
    committed = point not in {Failpoint.REINDEX_SWAPPING, Failpoint.BEFORE_COMMIT}
    service = ServiceProcess(tmp_path)
    with service, Client(service.url) as client:
        fill(client, "held", OLD)
        fill(client, "fresh", NEW)
        old, new = content(client, "held"), content(client, "fresh")
        start(client, "held")
        encode(client, "held", SLIDES)
        service.stop()
    service.environment = {VARIABLE: f"{point.value}:1"}
    service.start()
    with Client(service.url) as client, pytest.raises(UnavailableError):
        client.finish_reindex("held", model_fingerprint=NEW, timeout_s=2)
    service.kill()
    service.environment = {}
    with service, Client(service.url) as client:
        assert content(client, "held") == (new if committed else old)
        assert bool(client.get_collection("held").reindex_model_fingerprint) is not committed
        client.finish_reindex("held", model_fingerprint=NEW)
        assert content(client, "held") == new


def test_a_service_killed_on_the_way_has_lost_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path)
    with service, Client(service.url) as client:
        fill(client, "held", OLD)
        start(client, "held")
        encode(client, "held", SLIDES[:2])
        service.kill()
    with service, Client(service.url) as client:
        start(client, "held")
        assert pending(client, "held") == SLIDES[2:]
        encode(client, "held", SLIDES[:3])
        service.kill()
    with service, Client(service.url) as client:
        assert pending(client, "held") == SLIDES[3:]
        client.delete_slide("s0", collection="held")
        service.kill()
    with service, Client(service.url) as client:
        encode(client, "held", SLIDES[3:])
        client.finish_reindex("held", model_fingerprint=NEW)
        assert sorted(content(client, "held")) == SLIDES[1:]


def test_a_cancelled_reindex_leaves_the_collection_as_it_was(client: Client, held: str) -> None:
    before = content(client, held)
    start(client, held)
    encode(client, held, SLIDES[:2])
    assert client.cancel_reindex(held) == 2
    assert client.cancel_reindex(held) == 0
    assert content(client, held) == before
    start(client, held)
    assert pending(client, held) == SLIDES
    assert client.delete_collection(held, force=True) == len(SLIDES)
    fill(client, held, OLD)
    assert client.get_collection(held).reindex_model_fingerprint == ""


def test_refusals_say_what_is_wrong(client: Client, held: str) -> None:
    def reason(error: type[Exception], call) -> str:
        with pytest.raises(error) as raised:
            call()
        return raised.value.reason

    refused = FailedPreconditionError
    assert reason(refused, lambda: client.get_reindex(held)) == "NO_REINDEX"
    assert reason(refused, lambda: encode(client, held, ["s0"])) == "NO_REINDEX"
    assert reason(refused, lambda: start(client, held, OLD)) == "MODEL_UNCHANGED"
    finish = lambda: client.finish_reindex(held, model_fingerprint=NEW)  # noqa: E731
    assert reason(refused, finish) == "NO_REINDEX"
    start(client, held)
    start(client, held)
    other = lambda: client.start_reindex(  # noqa: E731
        held, model_fingerprint="c" * 64, texture_bits=256, hamming_threshold_bits=1
    )
    assert reason(refused, other) == "REINDEX_IN_PROGRESS"
    assert (
        reason(refused, lambda: client.finish_reindex(held, model_fingerprint="c" * 64))
        == "REINDEX_IN_PROGRESS"
    )
    mine = codes(NEW, "s0")
    elsewhere = Codes(mine.keys, mine.textures, mine.xy + 1)
    give = lambda given, model=NEW: client.reindex_slide_codes(  # noqa: E731
        "s0", given, collection=held, model_fingerprint=model
    )
    assert reason(InvalidRequestError, lambda: give(elsewhere)) == "OTHER_PATCHES"
    assert reason(refused, lambda: give(mine, OLD)) == "MODEL_FINGERPRINT_MISMATCH"
    assert reason(NotFoundError, lambda: client.reindex_slide_codes(
        "none", mine, collection=held, model_fingerprint=NEW
    )) == "SLIDE_NOT_FOUND"  # fmt: skip
    unknown = lambda: client.start_reindex(held, model_fingerprint="d" * 64)  # noqa: E731
    assert reason(InvalidRequestError, unknown) == "INVALID_FIELD"


def test_a_slide_replaced_since_it_was_read_is_refused(
    client: Client, service: ServiceProcess, held: str
) -> None:
    start(client, held)
    read = client.get_slide("s0", collection=held)
    add(client, held, OLD, "s0", version=1, patient_id="p0")
    with service.channel() as channel:
        calls = Calls(channel, held, fingerprint=NEW)
        messages = list(calls.additions("s0", [], content_digest=read.content_digest))
        messages[0].header.for_reindex = True
        with pytest.raises(grpc.RpcError) as raised:
            calls.slides.AddSlide(iter(messages), timeout=60)
    assert Failure.of(raised.value).info.reason == "SLIDE_CHANGED"
