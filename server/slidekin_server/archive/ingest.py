"""Adding a slide to a collection."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass, field

from slidekin_server.archive.archive import Added, Archive
from slidekin_server.archive.errors import InvalidArgumentError
from slidekin_server.archive.names import slide_name
from slidekin_server.archive.patches import CodedPatch, Patch, PatchSource, stack
from slidekin_server.archive.pipeline import Pipeline
from slidekin_server.archive.workers import Workers
from slidekin_server.storage import Picture, Pictures, SlideFacts
from slidekin_server.telemetry import Metrics, Stage, traced


@dataclass(slots=True)
class Incoming:
    """What arrives with a slide besides its codes."""

    facts: SlideFacts
    replace: bool
    slide_picture: Picture | None = None
    patch_pictures: dict[int, Picture] = field(default_factory=dict)
    """By the patch's index; filled while patches arrive."""

    def pictures(self) -> Pictures:
        """Return the pictures that came with the slide."""
        patches: Mapping[int, Picture] = self.patch_pictures
        return Pictures(slide=self.slide_picture, patches=patches)


class SlideIngest:
    """Adds slides: encodes patches as they arrive, then stores the slide or nothing."""

    def __init__(
        self, archive: Archive, workers: Workers, metrics: Metrics, pipeline: Pipeline
    ) -> None:
        self._archive = archive
        self._workers = workers
        self._metrics = metrics
        self._pipeline = pipeline

    def recognise(self, collection_id: str, incoming: Incoming) -> Added | None:
        """Return the outcome if the header alone shows that the collection holds the slide.

        Raises:
            NotLoadedError, NotFoundError: The collection is not available.
            AlreadyExistsError: Another slide has that name and is not to be replaced.
        """
        held = self._archive.held_already(collection_id, incoming.facts, replace=incoming.replace)
        if held is None:
            return None
        version = self._archive.view(collection_id).version
        return Added(held, already_present=True, index_version=version)

    async def encode(
        self,
        collection_id: str,
        incoming: Incoming,
        batches: AsyncIterable[Sequence[Patch]],
        source: PatchSource,
    ) -> list[CodedPatch]:
        """Encode a slide's patches as they arrive and return them in their order.

        Raises:
            ArchiveError: A patch was refused, or there are none.
            EncodingError: A patch could not be encoded.
        """
        coded: list[CodedPatch] = []

        async def keep(codes: list[CodedPatch]) -> None:
            coded.extend(codes)

        await self._pipeline.run(batches, source.codes, keep)
        if not coded:
            name = slide_name(collection_id, incoming.facts.slide_id)
            raise InvalidArgumentError(
                "patches",
                f"{name} has none; a slide without tissue cannot be searched",
                reason="EMPTY_SLIDE",
            )
        coded.sort(key=lambda patch: patch.index)
        return coded

    async def store(
        self,
        collection_id: str,
        incoming: Incoming,
        patches: Sequence[CodedPatch],
        *,
        fingerprint: str,
    ) -> Added:
        """Store a slide whose patches have all arrived; it is durable and visible on return.

        Args:
            collection_id: The collection.
            incoming: What arrived besides the codes.
            patches: The codes.
            fingerprint: Model that made the codes.

        Raises:
            ArchiveError: The slide was refused.
            StorageError: The slide could not be written.
        """
        with self._metrics.stage(Stage.STORE), traced(Stage.STORE.value, patches=len(patches)):
            return await self._workers.write(
                lambda: self._archive.add_slide(
                    collection_id,
                    incoming.facts,
                    stack(patches),
                    incoming.pictures(),
                    replace=incoming.replace,
                    fingerprint=fingerprint,
                )
            )
