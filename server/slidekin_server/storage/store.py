"""The interface of a store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from slidekin_server.storage.errors import DamagedSlideError
from slidekin_server.storage.records import (
    NO_PICTURES,
    AddedSlide,
    Change,
    CollectionRecord,
    Picture,
    Pictures,
    SlideFacts,
    SlideRecord,
    StoredSlide,
)
from slidekin_server.values import PatchCodes


class Store(Protocol):
    """Collections and their slides, on disk.

    When a method that changes something returns, the change is on disk; if it raises, nothing has
    changed. Methods block and may be called from any number of threads. Slides are in order of
    insertion, which is the order of their numbers. Every method may raise `StoreUnavailableError`
    and `DamagedStoreError`; those that change something may also raise `StoreFullError` and
    `StoreReadOnlyError`.
    """

    def create_collection(self, collection: CollectionRecord) -> CollectionRecord:
        """Create an empty collection.

        Raises:
            CollectionExistsError: A collection of that name exists, equal or not.
        """

    def get_collection(self, name: str) -> CollectionRecord:
        """Return one collection.

        Raises:
            CollectionNotFoundError: There is no such collection.
        """

    def list_collections(self) -> list[CollectionRecord]:
        """Return all collections in order of creation."""

    def update_collection(
        self, name: str, *, display_name: str | None = None, description: str | None = None
    ) -> CollectionRecord:
        """Change the given values; None keeps a value.

        Raises:
            CollectionNotFoundError: There is no such collection.
        """

    def delete_collection(self, name: str, *, force: bool = False) -> list[SlideRecord]:
        """Delete a collection and its draft; with ``force``, also its slides.

        Returns:
            The slides that were deleted with it.

        Raises:
            CollectionNotFoundError: There is no such collection.
            CollectionNotEmptyError: It holds slides and ``force`` is not set.
        """

    def adopt_draft(
        self, collection: str, keep: Collection[str]
    ) -> tuple[CollectionRecord, list[SlideRecord]]:
        """Give a collection the model and the codes of its draft, all of it or nothing.

        The draft, whose name is `draft_name`, no longer exists afterwards. Slides keep their facts,
        their pictures and the time they were added; they get their numbers in the draft.

        Args:
            collection: The collection.
            keep: Ids of the slides that stay; collection and draft hold all of them. Others are
                deleted.

        Returns:
            The collection and its slides, by number.

        Raises:
            CollectionNotFoundError: There is no such collection, or it has no draft.
            DamagedSlideError: A checksum of a slide that stays is wrong.
        """

    def add_slide(
        self,
        collection: str,
        facts: SlideFacts,
        codes: PatchCodes,
        pictures: Pictures = NO_PICTURES,
        *,
        replace: bool = False,
    ) -> AddedSlide:
        """Add a slide, all of it or nothing.

        With ``replace``, a slide of the same name is deleted in the same step, also from a draft.
        The new slide has a new number and comes last.

        Raises:
            CollectionNotFoundError: There is no such collection.
            SlideExistsError: A slide of that name exists and ``replace`` is not set.
            ValueError: The arrays do not fit together, or their textures are not as wide as the
                collection's.
        """

    def get_slide(self, collection: str, slide_id: str) -> SlideRecord:
        """Return one slide's facts.

        Raises:
            CollectionNotFoundError: There is no such collection.
            SlideNotFoundError: It holds no such slide.
            DamagedSlideError: A checksum is wrong.
        """

    def load_slide(self, collection: str, slide_id: str) -> StoredSlide:
        """Return one slide with its arrays. Raises as `get_slide` does."""

    def list_slides(
        self, collection: str, *, after: int = 0, limit: int = 1000
    ) -> list[SlideRecord]:
        """Return up to ``limit`` slides whose number is greater than ``after``.

        Raises:
            CollectionNotFoundError: There is no such collection.
            DamagedSlideError: A checksum is wrong.
        """

    def iter_slides(
        self, collection: str, *, damaged: Callable[[DamagedSlideError], None] | None = None
    ) -> Iterator[StoredSlide]:
        """Iterate over all slides with their arrays, a few in memory at a time.

        Slides added or deleted in the meantime may or may not be seen. Raises as `list_slides`.

        Args:
            collection: The collection.
            damaged: Called with the error of each damaged slide, which is then skipped; None: the
                first error is raised.
        """

    def update_slide(
        self,
        collection: str,
        slide_id: str,
        *,
        label: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> SlideRecord:
        """Change the given values; None keeps a value. The number stays. Raises as `get_slide`."""

    def delete_slide(self, collection: str, slide_id: str) -> SlideRecord:
        """Delete one slide; its data is overwritten on the disk.

        Returns:
            What was deleted.

        Raises:
            CollectionNotFoundError: There is no such collection.
            SlideNotFoundError: It holds no such slide.
        """

    def delete_patient(
        self, patient_id: str, *, collection: str | None = None
    ) -> list[SlideRecord]:
        """Delete every slide of a patient; their data is overwritten on the disk.

        Args:
            patient_id: The patient; not empty.
            collection: Only in this collection and its draft; None: in all.

        Returns:
            The deleted slides, by number, including those of drafts.

        Raises:
            CollectionNotFoundError: There is no such collection.
            ValueError: ``patient_id`` is empty.
        """

    def slide_picture(self, collection: str, slide_id: str) -> Picture | None:
        """Return the picture of the whole slide, if there is one. Raises as `delete_slide`."""

    def patch_pictures(
        self, collection: str, slide_id: str, indices: Sequence[int], *, most_bytes: int
    ) -> dict[int, Picture]:
        """Return the stored pictures of these patches. Raises as `delete_slide` does.

        Reading ends with the first picture that makes them exceed ``most_bytes``.
        """

    def copy_to(self, file: Path) -> None:
        """Write a copy of the store at this moment, while changes continue.

        Args:
            file: Does not exist yet; complete and on disk on return.
        """

    def count_slides(self) -> int:
        """Return how many slides all collections hold, without drafts."""

    def last_sequence(self) -> int:
        """Return the sequence number of the latest change; 0 before the first."""

    def changes_since(self, sequence: int, *, limit: int = 1000) -> list[Change]:
        """Return up to ``limit`` changes after a sequence number, in order."""

    def close(self) -> None:
        """Release the store for another service."""
