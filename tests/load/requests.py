"""What callers ask, as bytes made beforehand: the generator is to cost as little as it can."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from grpc import aio
from tests.bench.cohort import SLIDE_PATCHES, Cohort
from tests.load.tally import Outcome
from tests.load.widths import widened
from tests.service_calls import Failure, batches, patch_messages

from slidekin.v1 import common_pb2, search_pb2, slides_pb2
from slidekin_server.values import PatchCodes

_DISTINCT = 32
"""Slides that are asked for, or added, round and round."""
_K = 5
_PATCHES_A_MESSAGE = SLIDE_PATCHES
"""The SDK fills a message up to 256 KiB; a slide's codes take 9."""
_SLIDE_IMAGES = 4
"""Of a slide that is added by images."""
_SLOW_PAUSE_S = 0.05
"""Between two messages that a slow reader takes."""

_SEARCH = "/slidekin.v1.SearchService/SearchSlide"
_SEARCH_PATCHES = "/slidekin.v1.SearchService/SearchPatches"
_ADD = "/slidekin.v1.SlideService/AddSlide"
_DELETE = "/slidekin.v1.SlideService/DeleteSlide"
_LIST = "/slidekin.v1.SlideService/ListSlides"

STATUS_LOST = "STATUS_LOST"
"""The service refused a stream while its messages were still being sent: grpc.aio then puts an
error of its own in place of the status that arrives a moment later."""
_LOST_BY_GRPC = "Internal error from Core"

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Site:
    """One site's callers."""

    target: str
    name: str
    """Slides that it adds begin with this."""
    collection: str
    fingerprint: str
    texture_bits: int
    """Of its collection's model."""
    api_key: str = ""
    """Who it is to the service; empty: nobody in particular."""
    connections: int = 8
    images: str = ""
    """Folder of JPEG files; empty: it has none."""
    ring: int = 0
    """It adds so many slides under names that come round again; 0: each under a new one."""
    seed: int = 1


class Requests:
    """A site's connections, and all that is asked through them.

    Every method makes one call within a time and says how it ended.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._channels = [_channel(site.target) for _ in range(site.connections)]
        self._turns = itertools.cycle(self._channels)
        self._metadata: Metadata = (
            (("authorization", f"Bearer {site.api_key}"),) if site.api_key else ()
        )
        drawn = Cohort(SLIDE_PATCHES).queries(_DISTINCT, first=site.seed * _DISTINCT)
        codes = widened(drawn, site.texture_bits)
        slides = [_slide(codes, number) for number in range(_DISTINCT)]
        self._searches, self._slow_searches = (
            itertools.cycle([list(self._search_messages(one, batched=batched)) for one in slides])
            for batched in (True, False)
        )
        self._additions = itertools.cycle([list(_addition_messages(one)) for one in slides])
        images = _read_images(site.images)
        self._image_searches = itertools.cycle([self._image_search(one) for one in images])
        self._image_additions = itertools.cycle(_image_additions(images))
        self._numbers = itertools.count()
        self._random = np.random.default_rng(site.seed)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def search(self, timeout_s: float) -> Outcome:
        """Search for a slide by its codes, and take all that comes."""
        call = self._stream_stream(_SEARCH, next(self._searches), timeout_s)
        return await _ended(_read_all(call))

    async def search_image(self, timeout_s: float) -> Outcome:
        """Search for one patch by its image."""
        method = self._channel.unary_unary(_SEARCH_PATCHES)
        request = next(self._image_searches)
        return await _ended(method(request, timeout=timeout_s, metadata=self._metadata))

    async def add(self, timeout_s: float) -> Outcome:
        """Add a slide by its codes."""
        return await self._add(next(self._additions), timeout_s)

    async def add_images(self, timeout_s: float) -> Outcome:
        """Add a slide by a few images."""
        return await self._add(next(self._image_additions), timeout_s)

    async def delete(self, timeout_s: float) -> Outcome:
        """Delete a slide that was added, or find that it is not there."""
        name = self._slide_name(int(self._random.integers(max(self._site.ring, 1))))
        request = slides_pb2.DeleteSlideRequest(name=name).SerializeToString()
        method = self._channel.unary_unary(_DELETE)
        outcome = await _ended(method(request, timeout=timeout_s, metadata=self._metadata))
        return Outcome() if outcome.code == "NOT_FOUND" else outcome

    async def list_slides(self, timeout_s: float) -> Outcome:
        """Read the first page of the slides."""
        request = slides_pb2.ListSlidesRequest(parent=self._parent, page_size=200)
        method = self._channel.unary_unary(_LIST)
        message = request.SerializeToString()
        return await _ended(method(message, timeout=timeout_s, metadata=self._metadata))

    async def search_and_cancel(self, timeout_s: float) -> Outcome:
        """Begin a search and lose interest after its first answer."""
        call = self._stream_stream(_SEARCH, next(self._searches), timeout_s)
        outcome = await _ended(call.read())
        call.cancel()
        return outcome

    async def search_slowly(self, timeout_s: float) -> Outcome:
        """Search for a message of each patch, and take them one by one with pauses."""
        call = self._stream_stream(_SEARCH, next(self._slow_searches), timeout_s)
        return await _ended(_read_all(call, pause_s=_SLOW_PAUSE_S))

    @property
    def _channel(self) -> Any:
        return next(self._turns)

    @property
    def _parent(self) -> str:
        return f"collections/{self._site.collection}"

    def _slide_name(self, number: int) -> str:
        if self._site.ring:
            number %= self._site.ring
        return f"{self._parent}/slides/{self._site.name}-{number}"

    def _stream_stream(self, path: str, messages: Sequence[bytes], timeout_s: float) -> Any:
        method = self._channel.stream_stream(path)
        return method(iter(messages), timeout=timeout_s, metadata=self._metadata)

    async def _add(self, messages: Sequence[bytes], timeout_s: float) -> Outcome:
        slide = slides_pb2.Slide(name=self._slide_name(next(self._numbers)))
        header = slides_pb2.AddSlideHeader(
            slide=slide, replace=bool(self._site.ring), model_fingerprint=self._site.fingerprint
        )
        first = slides_pb2.AddSlideRequest(header=header).SerializeToString()
        method = self._channel.stream_unary(_ADD)
        call = method(iter([first, *messages]), timeout=timeout_s, metadata=self._metadata)
        return await _ended(call)

    def _search_messages(self, codes: PatchCodes, *, batched: bool) -> Iterator[bytes]:
        header = search_pb2.SearchSlideHeader(
            parent=self._parent,
            options=search_pb2.SearchOptions(k=_K),
            model_fingerprint=self._site.fingerprint,
            batch_hits=batched,
        )
        yield search_pb2.SearchSlideRequest(header=header).SerializeToString()
        for batch in batches(patch_messages(codes), _PATCHES_A_MESSAGE):
            yield search_pb2.SearchSlideRequest(patches=batch).SerializeToString()

    def _image_search(self, image: bytes) -> bytes:
        return search_pb2.SearchPatchesRequest(
            parent=self._parent,
            patches=[_image_patch(0, image)],
            options=search_pb2.SearchOptions(k=_K),
        ).SerializeToString()


def _channel(target: str) -> aio.Channel:
    options = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.enable_retries", 0),
        # A connection of its own, as that of another caller would be.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return aio.insecure_channel(target, options=options)


def _slide(codes: PatchCodes, number: int) -> PatchCodes:
    part = slice(number * SLIDE_PATCHES, (number + 1) * SLIDE_PATCHES)
    return PatchCodes(codes.keys[part], codes.textures[part], codes.xy[part])


def _addition_messages(codes: PatchCodes) -> Iterator[bytes]:
    for batch in batches(patch_messages(codes), _PATCHES_A_MESSAGE):
        yield slides_pb2.AddSlideRequest(patches=batch).SerializeToString()
    end = slides_pb2.AddSlideEnd(patch_count=len(codes))
    yield slides_pb2.AddSlideRequest(end=end).SerializeToString()


def _image_additions(images: Sequence[bytes]) -> Iterator[list[bytes]]:
    for begin in range(0, len(images), _SLIDE_IMAGES):
        part = images[begin : begin + _SLIDE_IMAGES]
        patches = [_image_patch(place, image) for place, image in enumerate(part)]
        messages = [
            slides_pb2.AddSlideRequest(patches=common_pb2.PatchBatch(patches=[patch]))
            for patch in patches
        ]
        end = slides_pb2.AddSlideRequest(end=slides_pb2.AddSlideEnd(patch_count=len(part)))
        yield [message.SerializeToString() for message in [*messages, end]]


def _image_patch(place: int, image: bytes) -> common_pb2.Patch:
    return common_pb2.Patch(
        x_px=1024 * place,
        image=common_pb2.Image(
            data=image, format=common_pb2.IMAGE_FORMAT_JPEG, width_px=1024, height_px=1024
        ),
    )


def _read_images(folder: str) -> list[bytes]:
    return [file.read_bytes() for file in sorted(Path(folder).glob("*.jpg"))] if folder else []


async def _read_all(call: Any, pause_s: float = 0) -> None:
    async for _ in call:
        if pause_s:
            await asyncio.sleep(pause_s)


async def _ended(call: Awaitable[object]) -> Outcome:
    try:
        await call
    except aio.AioRpcError as error:
        if error.details() == _LOST_BY_GRPC:
            return Outcome(STATUS_LOST)
        failure = Failure.of_async(error)
        retry = failure.retry
        return Outcome(
            failure.code.name,
            failure.info.reason if failure.info else "",
            retry.retry_delay.ToMilliseconds() / 1000 if retry else None,
        )
    return Outcome()


KINDS: dict[str, Callable[[Requests], Callable[[float], Awaitable[Outcome]]]] = {
    "search": lambda requests: requests.search,
    "search image": lambda requests: requests.search_image,
    "add": lambda requests: requests.add,
    "add images": lambda requests: requests.add_images,
    "delete": lambda requests: requests.delete,
    "list": lambda requests: requests.list_slides,
    "cancel": lambda requests: requests.search_and_cancel,
    "slow": lambda requests: requests.search_slowly,
}
"""What can be asked, by name."""
