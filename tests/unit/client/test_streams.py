"""What the streams promise, judged by a server that does to them what servers do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.drawing import draw_slide
from tests.unit.client.recorder import Recorder, serving

from slidekin import (
    AsyncClient,
    Client,
    ImagePatch,
    InvalidRequestError,
    PatchHits,
    Retry,
    SearchResult,
    Slide,
    SlideSource,
    UnavailableError,
    UnreadableSlideError,
)
from slidekin.v1 import admin_pb2, search_pb2, slides_pb2

SLIDE = Slide("collections/a/slides/s")
KIB = 1024
FAST = Retry(initial_backoff_s=0.001)


def _images(count: int, size: int = 300 * KIB) -> list[ImagePatch]:
    return [ImagePatch(x, 0, bytes(size)) for x in range(count)]


def _hits_for_each(requests: Any, _context: grpc.ServicerContext) -> Iterator[Any]:
    """Answers every patch before it takes the next message."""
    index = 0
    for request in requests:
        for _ in request.patches.patches:
            hits = search_pb2.PatchHits(query_patch_index=index, hit_count=index)
            yield search_pb2.SearchSlideResponse(patch_hits=hits)
            index += 1
    ranked = search_pb2.RankedSlides(query_patch_count=index)
    yield search_pb2.SearchSlideResponse(ranked_slides=ranked)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "drawn.tiff"
    draw_slide(path, "glands", width_px=2200, height_px=2200)
    return path


def test_hits_come_back_while_patches_are_still_made():
    first_hit = threading.Event()

    def images() -> Iterator[ImagePatch]:
        for index, image in enumerate(_images(5)):
            if index == 2:
                # Made only once an answer to an earlier one was read.
                assert first_hit.wait(30)
            yield image

    with serving(Recorder(SearchSlide=_hits_for_each)) as target, Client(target) as client:
        result = client.search_images(
            images(), collection="a", on_patch_hits=lambda _hits: first_hit.set()
        )
    assert result.query_patch_count == 5
    assert [hits.hit_count for hits in result.patch_hits] == [0, 1, 2, 3, 4]
    assert result.query.positions == tuple((x, 0) for x in range(5))


def test_hits_in_batches_are_told_one_by_one():
    def in_one_batch(requests: Any, _context: grpc.ServicerContext) -> Iterator[Any]:
        header, *rest = requests
        assert header.header.batch_hits
        patches = sum(len(request.patches.patches) for request in rest)
        hits = [search_pb2.PatchHits(query_patch_index=index) for index in range(patches)]
        batch = search_pb2.PatchHitsBatch(patch_hits=hits)
        yield search_pb2.SearchSlideResponse(patch_hits_batch=batch)
        ranked = search_pb2.RankedSlides(query_patch_count=patches)
        yield search_pb2.SearchSlideResponse(ranked_slides=ranked)

    told: list[int] = []
    with serving(Recorder(SearchSlide=in_one_batch)) as target, Client(target) as client:
        result = client.search_images(
            _images(3),
            collection="a",
            on_patch_hits=lambda hits: told.append(hits.query_patch_index),
        )
    assert told == [0, 1, 2] == [hits.query_patch_index for hits in result.patch_hits]


def test_a_stream_hands_out_hits_then_the_result():
    with serving(Recorder(SearchSlide=_hits_for_each)) as target, Client(target) as client:
        items = list(client.stream_search(_images(3), collection="a"))
    assert [type(item) for item in items] == [PatchHits, PatchHits, PatchHits, SearchResult]


def test_a_service_that_does_not_read_keeps_patches_from_being_made():
    made: list[int] = []
    ahead: list[int] = []

    def slow(requests: Any, _context: grpc.ServicerContext) -> Any:
        # Time for an unbounded sender to run away; a bounded one passes however long this is.
        threading.Event().wait(0.5)
        ahead.append(len(made))
        list(requests)
        return slides_pb2.AddSlideResponse()

    def images() -> Iterator[ImagePatch]:
        for image in _images(200, 1024 * KIB):
            made.append(image.x_px)
            yield image

    with serving(Recorder(AddSlide=slow)) as target, Client(target) as client:
        client.add_slide_images(SLIDE, images())
    assert len(made) == 200
    assert ahead[0] < 32


def test_the_error_of_making_patches_is_the_one_that_comes_out():
    def images() -> Iterator[ImagePatch]:
        yield ImagePatch(0, 0, bytes(300 * KIB))
        raise UnreadableSlideError("cut short", path=Path("x.svs"))

    recorder = Recorder()
    with serving(recorder) as target, Client(target) as client:
        with pytest.raises(UnreadableSlideError, match="cut short"):
            client.add_slide_images(SLIDE, images())
        with pytest.raises(UnreadableSlideError, match="cut short"):
            client.search_images(images(), collection="a")


def test_a_patch_that_fits_no_message_is_refused_before_it_travels():
    def limits(_request: Any, _context: grpc.ServicerContext) -> Any:
        return admin_pb2.GetStatusResponse(limits=admin_pb2.Limits(max_message_bytes=1024 * KIB))

    with (
        serving(Recorder(GetStatus=limits)) as target,
        Client(target) as client,
        pytest.raises(InvalidRequestError, match=r"patch 1 at \(1, 0\)"),
    ):
        client.add_slide_images(SLIDE, [_images(1)[0], ImagePatch(1, 0, bytes(1024 * KIB))])


def test_an_early_answer_ends_the_making_of_patches():
    made: list[int] = []

    def at_once(_requests: Any, _context: grpc.ServicerContext) -> Any:
        return slides_pb2.AddSlideResponse(already_present=True)

    def images() -> Iterator[ImagePatch]:
        for image in _images(2000, 1024 * KIB):
            made.append(image.x_px)
            yield image

    with serving(Recorder(AddSlide=at_once)) as target, Client(target) as client:
        assert client.add_slide_images(SLIDE, images()).already_present
        after = len(made)
    assert after == len(made) < 2000


class Flaky:
    """Fails the first stream half-way, then works."""

    def __init__(self) -> None:
        self.starts = 0

    def add(self, requests: Any, context: grpc.ServicerContext) -> Any:
        self.starts += 1
        next(requests)
        next(requests)
        if self.starts == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        patches = sum(len(request.patches.patches) for request in requests)
        return slides_pb2.AddSlideResponse(slide=slides_pb2.Slide(patch_count=patches + 1))

    def search(self, requests: Any, context: grpc.ServicerContext) -> Any:
        self.starts += 1
        answers = _hits_for_each(requests, context)
        for number, answer in enumerate(answers):
            if self.starts == 1 and number == 1:
                context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
            yield answer


def test_a_stream_that_can_be_made_anew_starts_again_as_a_whole():
    flaky = Flaky()
    with serving(Recorder(AddSlide=flaky.add)) as target, Client(target, retry=FAST) as client:
        assert client.add_slide_images(SLIDE, _images(4)).slide.patch_count == 4
    assert flaky.starts == 2


def test_a_stream_that_was_read_away_does_not_start_again():
    flaky = Flaky()
    with (
        serving(Recorder(AddSlide=flaky.add)) as target,
        Client(target, retry=FAST) as client,
        pytest.raises(UnavailableError, match="restarting"),
    ):
        client.add_slide_images(SLIDE, iter(_images(4)))
    assert flaky.starts == 1


def test_hits_that_were_handed_out_are_not_taken_back():
    flaky = Flaky()
    with (
        serving(Recorder(SearchSlide=flaky.search)) as target,
        Client(target, retry=FAST) as client,
        pytest.raises(UnavailableError),
    ):
        list(client.stream_search(_images(4), collection="a"))
    assert flaky.starts == 1


def test_a_slide_from_disk_is_read_again_and_its_mosaic_picked_once(drawn: Path):
    flaky, stages = Flaky(), []
    with (
        serving(Recorder(SearchSlide=flaky.search)) as target,
        Client(target, retry=FAST) as client,
    ):
        result = client.search_slide(
            drawn, collection="a", progress=lambda stage, _done, _total: stages.append(stage)
        )
    assert flaky.starts == 2
    assert result.query.slide_id == "drawn"
    assert len(result.query.positions) == result.query_patch_count == len(result.patch_hits) > 0
    assert set(result.query.patch_thumbnails) == set(range(result.query_patch_count))
    assert result.query.thumbnail is not None
    assert result.query.thumbnail.startswith(b"\xff\xd8")
    # Every search follows the picking of the mosaic: it did not happen again in between.
    assert stages.index("send") > max(i for i, s in enumerate(stages) if s == "mosaic")


def test_a_slide_that_is_held_is_not_read_again(drawn: Path):
    received: list[Any] = []

    def keep(requests: Any, _context: grpc.ServicerContext) -> Any:
        received.extend(requests)
        return slides_pb2.AddSlideResponse(slide=received[0].header.slide)

    def held(_request: Any, context: grpc.ServicerContext) -> Any:
        if not received:
            context.abort(grpc.StatusCode.NOT_FOUND, "not held")
        return slides_pb2.GetSlideResponse(slide=received[0].header.slide)

    recorder = Recorder(AddSlide=keep, GetSlide=held)
    with serving(recorder) as target, Client(target) as client:
        first = client.add_slide(drawn, collection="a", label="x")
        stages: list[str] = []
        again = client.add_slide(
            drawn, collection="a", label="y", progress=lambda stage, _d, _t: stages.append(stage)
        )
        assert (first.already_present, again.already_present) == (False, True)
        assert stages == []
        assert recorder.calls.count("AddSlide") == 1
        client.add_slide(drawn, collection="a", label="y", replace=True)
        other = SlideSource(drawn, mosaic="sish-2022")
        client.add_slide(other, collection="a", label="y")
        assert recorder.calls.count("AddSlide") == 3
    header = received[0].header
    assert header.slide.name == "collections/a/slides/drawn"
    assert header.slide.mpp == 0.5
    assert len(header.slide.source_digest) == 64
    assert header.thumbnail.data.startswith(b"\xff\xd8")
    assert all(patch.thumbnail.data for patch in received[1].patches.patches)


@pytest.mark.asyncio
async def test_the_asynchronous_client_reads_and_writes_at_once(drawn: Path):
    with serving(Recorder(SearchSlide=_hits_for_each)) as target:
        async with AsyncClient(target) as client:
            seen: list[PatchHits] = []
            result = await client.search_slide(drawn, collection="a", on_patch_hits=seen.append)
            assert len(seen) == result.query_patch_count > 0
            items = [item async for item in client.stream_search(_images(3), collection="a")]
    assert isinstance(items[-1], SearchResult)


@pytest.mark.asyncio
async def test_the_asynchronous_client_gives_out_the_error_of_making_patches():
    def images() -> Iterator[ImagePatch]:
        yield ImagePatch(0, 0, bytes(300 * KIB))
        raise UnreadableSlideError("cut short", path=Path("x.svs"))

    with serving(Recorder()) as target:
        async with AsyncClient(target) as client:
            with pytest.raises(UnreadableSlideError, match="cut short"):
                await client.add_slide_images(SLIDE, images())
            with pytest.raises(UnreadableSlideError, match="cut short"):
                await client.search_images(images(), collection="a")


@pytest.mark.asyncio
async def test_the_asynchronous_client_starts_again_what_can_be_made_anew():
    flaky = Flaky()
    with serving(Recorder(AddSlide=flaky.add)) as target:
        async with AsyncClient(target, retry=FAST) as client:
            added = await client.add_slide_images(SLIDE, _images(4))
    assert (added.slide.patch_count, flaky.starts) == (4, 2)


@pytest.mark.asyncio
async def test_a_cancelled_search_ends_on_both_sides_and_lets_go_of_the_slide(drawn: Path):
    reached, cancelled = threading.Event(), threading.Event()

    def never(requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        context.add_callback(cancelled.set)
        next(requests)
        reached.set()
        cancelled.wait(60)
        yield from ()

    with serving(Recorder(SearchSlide=never)) as target:
        async with AsyncClient(target) as client:
            search = asyncio.create_task(client.search_slide(drawn, collection="a"))
            assert await asyncio.to_thread(reached.wait, 60)
            search.cancel()
            with pytest.raises(asyncio.CancelledError):
                await search
        assert await asyncio.to_thread(cancelled.wait, 30)
