"""The running service, as an importer needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import grpc

from slidekin.v1 import (
    collections_pb2,
    collections_pb2_grpc,
    common_pb2,
    slides_pb2,
    slides_pb2_grpc,
)
from slidekin_server.bundle import ModelBundle
from slidekin_server.released.errors import ReleaseError, SlideRefusedError
from slidekin_server.released.facts import SlideRow
from slidekin_server.values import PatchCodes

_PATCHES_PER_MESSAGE: Final = 1024
"""Of about 160 bytes each: messages of 160 KiB."""
_PAGE_SIZE: Final = 1000
_OF_THE_SLIDE: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""These say that one slide is refused; any other, that the service cannot go on."""

_Answer = TypeVar("_Answer")


class Service:
    """One collection of a running service.

    What it acknowledges is on its disk, and it is the one writer of its store: so an import may run
    beside searches and beside other ingests.

    Args:
        channel: To the service.
        address: What errors call it.
        collection: Id of the collection.
        timeout_s: Of each call.
        metadata: Headers to go with each.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        address: str,
        collection: str,
        timeout_s: float,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._collections = collections_pb2_grpc.CollectionServiceStub(channel)
        self._slides = slides_pb2_grpc.SlideServiceStub(channel)
        self._address = address
        self._parent = f"collections/{collection}"
        self._timeout_s = timeout_s
        self._metadata = metadata

    def create_collection(self, bundle: ModelBundle, description: str) -> None:
        """Create the collection, bound to the bundle's model; one that is there must be of it.

        Raises:
            ReleaseError: It is bound to another model, or the service cannot be asked.
        """
        wanted = collections_pb2.Collection(
            name=self._parent,
            description=description,
            model_fingerprint=bundle.fingerprint,
            texture_bits=bundle.texture_bits,
            hamming_threshold_bits=bundle.hamming_threshold_bits,
        )
        try:
            held = self._call(
                self._collections.GetCollection,
                collections_pb2.GetCollectionRequest(name=self._parent),
                tolerated=frozenset({grpc.StatusCode.NOT_FOUND}),
            ).collection
        except grpc.RpcError:
            self._call(
                self._collections.CreateCollection,
                collections_pb2.CreateCollectionRequest(collection=wanted),
            )
            return
        if held.model_fingerprint != bundle.fingerprint:
            raise ReleaseError(
                f"{self._parent} is bound to the model {held.model_fingerprint[:12]}, the "
                f"bundle is {bundle.fingerprint[:12]}: name another collection"
            )

    def held(self) -> dict[str, slides_pb2.Slide]:
        """Return the slides that the collection holds, by id.

        Raises:
            ReleaseError: The service cannot be asked.
        """
        found: dict[str, slides_pb2.Slide] = {}
        token = ""
        while True:
            page = self._call(
                self._slides.ListSlides,
                slides_pb2.ListSlidesRequest(
                    parent=self._parent, page_size=_PAGE_SIZE, page_token=token
                ),
            )
            for slide in page.slides:
                found[slide.name.rpartition("/")[2]] = slide
            token = page.next_page_token
            if not token:
                return found

    def add(
        self, slide: str, patches: PatchCodes, facts: SlideRow, *, digest: str, fingerprint: str
    ) -> bool:
        """Add a slide: stored durably on return.

        Returns:
            Whether it was new; False: this very slide was held already.

        Raises:
            SlideRefusedError: The service refuses the slide, or holds another of that name.
            ReleaseError: The service cannot be asked.
        """
        header = slides_pb2.AddSlideHeader(
            slide=slides_pb2.Slide(
                name=f"{self._parent}/slides/{slide}",
                patient_id=facts.patient_id,
                label=facts.label,
                attributes=dict(facts.attributes),
                source_digest=digest,
            ),
            model_fingerprint=fingerprint,
        )
        try:
            answer = self._call(
                self._slides.AddSlide, _additions(header, patches), tolerated=_OF_THE_SLIDE
            )
        except grpc.RpcError as error:
            call: Any = error  # every error of a call is the call itself
            if call.code() is grpc.StatusCode.ALREADY_EXISTS:
                raise SlideRefusedError(
                    f"{slide}: {self._parent} holds a slide of that name with other patches or "
                    "another patient; delete it there (slidekin slides delete), or import into "
                    "another collection"
                ) from None
            raise SlideRefusedError(f"{slide}: {call.details()}") from None
        return not answer.already_present

    def _call(
        self,
        method: Callable[..., _Answer],
        request: object,
        *,
        tolerated: frozenset[grpc.StatusCode] = frozenset(),
    ) -> _Answer:
        """Call the service; a tolerated status is the caller's to judge."""
        try:
            return method(request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            call: Any = error
            if call.code() in tolerated:
                raise
            raise ReleaseError(
                f"{self._address}: {call.details()} ({call.code().name}). What was acknowledged is "
                "stored; the same command goes on from there"
            ) from None


def _additions(
    header: slides_pb2.AddSlideHeader, patches: PatchCodes
) -> Iterator[slides_pb2.AddSlideRequest]:
    yield slides_pb2.AddSlideRequest(header=header)
    for start in range(0, len(patches), _PATCHES_PER_MESSAGE):
        batch = common_pb2.PatchBatch()
        stop = min(start + _PATCHES_PER_MESSAGE, len(patches))
        for row in range(start, stop):
            x_px, y_px = patches.xy[row].tolist()
            code = common_pb2.Code(
                key=int(patches.keys[row]), texture=patches.textures[row].tobytes()
            )
            batch.patches.add(x_px=x_px, y_px=y_px, code=code)
        yield slides_pb2.AddSlideRequest(patches=batch)
    yield slides_pb2.AddSlideRequest(end=slides_pb2.AddSlideEnd(patch_count=len(patches)))
