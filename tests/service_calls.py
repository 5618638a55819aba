"""Calls to a service by codes, in few words, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc import aio
from grpc_status import rpc_status

from slidekin.v1 import (
    admin_pb2_grpc,
    collections_pb2,
    collections_pb2_grpc,
    common_pb2,
    search_pb2,
    search_pb2_grpc,
    slides_pb2,
    slides_pb2_grpc,
)
from slidekin_server.values import PatchCodes

FINGERPRINT = "f" * 64
TEXTURE_BITS = 128
THRESHOLD_BITS = 24

_DETAILS = {
    "info": error_details_pb2.ErrorInfo,
    "bad_request": error_details_pb2.BadRequest,
    "precondition": error_details_pb2.PreconditionFailure,
    "resource": error_details_pb2.ResourceInfo,
    "retry": error_details_pb2.RetryInfo,
}


@dataclass(frozen=True)
class Failure:
    """What a failed call says."""

    code: grpc.StatusCode
    message: str
    info: Any = None
    bad_request: Any = None
    precondition: Any = None
    resource: Any = None
    retry: Any = None

    @classmethod
    def of(cls, error: grpc.RpcError) -> Failure:
        """Take the details out of a failed call."""
        call: Any = error  # every error of a call is the call itself
        return cls._of(call.code(), call.details(), rpc_status.from_call(call))

    @classmethod
    def of_async(cls, error: aio.AioRpcError) -> Failure:
        """Take the details out of a failed call of an asyncio channel."""
        status = None
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                status = status_pb2.Status.FromString(value)
        return cls._of(error.code(), error.details(), status)

    @classmethod
    def _of(cls, code: grpc.StatusCode, message: str | None, status: Any) -> Failure:
        found: dict[str, Any] = {}
        for packed in status.details if status else ():
            for name, kind in _DETAILS.items():
                detail = kind()
                if packed.Unpack(detail):
                    found.setdefault(name, detail)
        return cls(code, message or "", **found)

    @property
    def fields(self) -> list[str]:
        """The fields that were at fault."""
        return [violation.field for violation in self.bad_request.field_violations]


@dataclass(frozen=True)
class SlideSearch:
    """What came back of a search for slides."""

    bags: Mapping[int, search_pb2.PatchHits]
    ranked: search_pb2.RankedSlides

    @property
    def slides(self) -> list[str]:
        """Ids of the slides found, best first."""
        return [slide_id(one.slide.name) for one in self.ranked.slides]


def slide_id(name: str) -> str:
    """The last part of a slide's resource name."""
    return name.split("/", maxsplit=3)[3]


def random_codes(seed: int, patches: int = 8, *, texture_bits: int = TEXTURE_BITS) -> PatchCodes:
    """Patches as far from any other seed's as chance has it."""
    random = np.random.default_rng(seed)
    return PatchCodes(
        keys=random.integers(10**14, 8 * 10**14, patches, dtype=np.int64),
        textures=random.integers(0, 256, (patches, texture_bits // 8), dtype=np.uint8),
        xy=random.integers(0, 50_000, (patches, 2), dtype=np.int32),
    )


def near_codes(codes: PatchCodes, seed: int, *, flips: int = 4) -> PatchCodes:
    """Patches like others: keys a little off, some bits of each texture flipped."""
    random = np.random.default_rng(seed)
    bits = np.unpackbits(codes.textures, axis=1)
    for row in bits:
        row[random.choice(len(row), flips, replace=False)] ^= 1
    return PatchCodes(
        keys=codes.keys + random.integers(1, 10**9, len(codes), dtype=np.int64),
        textures=np.packbits(bits, axis=1),
        xy=codes.xy,
    )


def patch_messages(codes: PatchCodes) -> list[common_pb2.Patch]:
    """Codes as patches of the contract."""
    return [
        common_pb2.Patch(
            x_px=int(x), y_px=int(y), code=common_pb2.Code(key=int(key), texture=texture.tobytes())
        )
        for key, texture, (x, y) in zip(codes.keys, codes.textures, codes.xy, strict=True)
    ]


def batches(patches: Sequence[common_pb2.Patch], size: int = 5) -> Iterator[common_pb2.PatchBatch]:
    """Patches, several to a message."""
    for start in range(0, len(patches), size):
        yield common_pb2.PatchBatch(patches=patches[start : start + size])


@dataclass
class Calls:
    """One collection of a service, and everything that can be asked of it."""

    channel: grpc.Channel
    collection: str = "test"
    fingerprint: str = FINGERPRINT
    timeout_s: float = 60
    collections: collections_pb2_grpc.CollectionServiceStub = field(init=False)
    slides: slides_pb2_grpc.SlideServiceStub = field(init=False)
    searches: search_pb2_grpc.SearchServiceStub = field(init=False)
    admin: admin_pb2_grpc.AdminServiceStub = field(init=False)

    def __post_init__(self) -> None:
        self.collections = collections_pb2_grpc.CollectionServiceStub(self.channel)
        self.slides = slides_pb2_grpc.SlideServiceStub(self.channel)
        self.searches = search_pb2_grpc.SearchServiceStub(self.channel)
        self.admin = admin_pb2_grpc.AdminServiceStub(self.channel)

    @property
    def parent(self) -> str:
        """Resource name of the collection."""
        return f"collections/{self.collection}"

    def name(self, slide: str) -> str:
        """Resource name of one of its slides."""
        return f"{self.parent}/slides/{slide}"

    def create(self, **changes: Any) -> collections_pb2.Collection:
        """Create the collection."""
        values = {
            "name": self.parent,
            "model_fingerprint": self.fingerprint,
            "texture_bits": TEXTURE_BITS,
            "hamming_threshold_bits": THRESHOLD_BITS,
        }
        collection = collections_pb2.Collection(**{**values, **changes})
        request = collections_pb2.CreateCollectionRequest(collection=collection)
        return self.collections.CreateCollection(request, timeout=self.timeout_s).collection

    def get(self) -> collections_pb2.Collection:
        """The collection as it stands."""
        request = collections_pb2.GetCollectionRequest(name=self.parent)
        return self.collections.GetCollection(request, timeout=self.timeout_s).collection

    def additions(
        self,
        slide: str,
        patches: PatchCodes | Sequence[common_pb2.Patch],
        *,
        replace: bool = False,
        fingerprint: str | None = None,
        thumbnail: common_pb2.Image | None = None,
        announced: int | None = None,
        for_reindex: bool = False,
        **facts: Any,
    ) -> Iterator[slides_pb2.AddSlideRequest]:
        """The messages that add a slide; ``announced`` overrides the number its end states."""
        messages = patch_messages(patches) if isinstance(patches, PatchCodes) else patches
        header = slides_pb2.AddSlideHeader(
            slide=slides_pb2.Slide(name=self.name(slide), **facts),
            replace=replace,
            model_fingerprint=self.fingerprint if fingerprint is None else fingerprint,
            thumbnail=thumbnail,
            for_reindex=for_reindex,
        )
        yield slides_pb2.AddSlideRequest(header=header)
        for batch in batches(messages):
            yield slides_pb2.AddSlideRequest(patches=batch)
        end = slides_pb2.AddSlideEnd(patch_count=len(messages) if announced is None else announced)
        yield slides_pb2.AddSlideRequest(end=end)

    def add(
        self, slide: str, patches: PatchCodes | Sequence[common_pb2.Patch], **options: Any
    ) -> slides_pb2.AddSlideResponse:
        """Add a slide."""
        return self.slides.AddSlide(
            self.additions(slide, patches, **options), timeout=self.timeout_s
        )

    def held(self, **options: Any) -> list[str]:
        """Ids of the slides held, in order of insertion."""
        request = slides_pb2.ListSlidesRequest(parent=self.parent, page_size=1000, **options)
        response = self.slides.ListSlides(request, timeout=self.timeout_s)
        return [slide_id(slide.name) for slide in response.slides]

    def questions(
        self,
        patches: PatchCodes | Sequence[common_pb2.Patch],
        *,
        fingerprint: str | None = None,
        **options: Any,
    ) -> Iterator[search_pb2.SearchSlideRequest]:
        """The messages that search for a slide."""
        header = search_pb2.SearchSlideHeader(
            parent=self.parent,
            options=search_pb2.SearchOptions(**options),
            model_fingerprint=self.fingerprint if fingerprint is None else fingerprint,
        )
        yield search_pb2.SearchSlideRequest(header=header)
        messages = patch_messages(patches) if isinstance(patches, PatchCodes) else patches
        for batch in batches(messages):
            yield search_pb2.SearchSlideRequest(patches=batch)

    def search(
        self, patches: PatchCodes | Sequence[common_pb2.Patch], **options: Any
    ) -> SlideSearch:
        """Search for a slide."""
        return self.search_stream(self.questions(patches, **options))

    def search_stream(self, messages: Iterable[search_pb2.SearchSlideRequest]) -> SlideSearch:
        """Search with messages of one's own."""
        bags, ranked = {}, None
        for answer in self.searches.SearchSlide(iter(messages), timeout=self.timeout_s):
            assert ranked is None, "the ranking is the last message"
            if answer.WhichOneof("payload") == "patch_hits":
                bags[answer.patch_hits.query_patch_index] = answer.patch_hits
            else:
                ranked = answer.ranked_slides
        assert ranked is not None, "a search ends with a ranking"
        return SlideSearch(bags, ranked)
