"""What the service asks of a store."""

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

    When a method that changes something returns, the change is on disk; where it raises, nothing
    has changed. Methods block: call them from a thread; any number of threads may. Order is order
    of insertion, which is that of slide numbers. Every method may raise `StoreUnavailableError`
    and `DamagedStoreError`, those that change something `StoreFullError` and
    `StoreReadOnlyError` too.
    """

    def create_collection(self, collection: CollectionRecord) -> CollectionRecord:
        """Create an empty collection.

        Raises:
            CollectionExistsError: One of that name is held, equal or not.
        """

    def get_collection(self, name: str) -> CollectionRecord:
        """Return one collection.

        Raises:
            CollectionNotFoundError: There is none.
        """

    def list_collections(self) -> list[CollectionRecord]:
        """Return all collections in order of creation."""

    def update_collection(
        self, name: str, *, display_name: str | None = None, description: str | None = None
    ) -> CollectionRecord:
        """Change what is given and leave what is None.

        Raises:
            CollectionNotFoundError: There is none.
        """

    def delete_collection(self, name: str, *, force: bool = False) -> list[SlideRecord]:
        """Delete a collection, with ``force`` its slides too, and its draft with it.

        Returns:
            The slides that were deleted with it.

        Raises:
            CollectionNotFoundError: There is none.
            CollectionNotEmptyError: It holds slides and ``force`` is not set.
        """

    def adopt_draft(
        self, collection: str, keep: Collection[str]
    ) -> tuple[CollectionRecord, list[SlideRecord]]:
        """Give a collection the model and the codes of its draft, all of it or nothing.

        The draft, whose name is `draft_name`, is gone afterwards. Slides keep their facts, their
        pictures and the time they were added; their numbers are those they had in the draft.

        Args:
            collection: The collection.
            keep: Ids of the slides that stay; collection and draft hold all of them. Others are
                deleted.

        Returns:
            The collection and its slides, by number.

        Raises:
            CollectionNotFoundError: There is no such collection, or it has no draft.
            DamagedSlideError: What is on disk of a slide that stays is not what was written.
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

        With ``replace`` a slide of the same name goes in the same step; the new one has a new
        number and stands last. What a draft held of the old one goes with it.

        Raises:
            CollectionNotFoundError: There is none.
            SlideExistsError: A slide of that name is held and ``replace`` is not set.
            ValueError: The arrays do not belong together, or their textures are not as wide as
                the collection's.
        """

    def get_slide(self, collection: str, slide_id: str) -> SlideRecord:
        """Return one slide's facts.

        Raises:
            CollectionNotFoundError: There is no such collection.
            SlideNotFoundError: It holds no such slide.
            DamagedSlideError: What is on disk is not what was written.
        """

    def load_slide(self, collection: str, slide_id: str) -> StoredSlide:
        """Return one slide with its arrays. Raises as `get_slide` does."""

    def list_slides(
        self, collection: str, *, after: int = 0, limit: int = 1000
    ) -> list[SlideRecord]:
        """Return up to ``limit`` slides whose number is greater than ``after``.

        Raises:
            CollectionNotFoundError: There is no such collection.
            DamagedSlideError: What is on disk is not what was written.
        """

    def iter_slides(
        self, collection: str, *, damaged: Callable[[DamagedSlideError], None] | None = None
    ) -> Iterator[StoredSlide]:
        """Go through all slides with their arrays, a few in memory at a time.

        Slides added or deleted meanwhile may be seen or not. Raises as `list_slides` does.

        Args:
            collection: Whose slides.
            damaged: Is told of each damaged slide, which is then passed over; None: the first one
                is raised.
        """

    def update_slide(
        self,
        collection: str,
        slide_id: str,
        *,
        label: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> SlideRecord:
        """Change what is given and leave what is None; the number stays. Raises as `get_slide`."""

    def delete_slide(self, collection: str, slide_id: str) -> SlideRecord:
        """Delete one slide, off the disk and not only out of sight.

        Returns:
            What was deleted.

        Raises:
            CollectionNotFoundError: There is no such collection.
            SlideNotFoundError: It holds no such slide.
        """

    def delete_patient(
        self, patient_id: str, *, collection: str | None = None
    ) -> list[SlideRecord]:
        """Delete every slide of a patient, off the disk and not only out of sight.

        Args:
            patient_id: The patient; not empty.
            collection: Only in this collection and its draft; None: in all.

        Returns:
            What was deleted, by number, drafts included.

        Raises:
            CollectionNotFoundError: There is no such collection.
            ValueError: ``patient_id`` is empty.
        """

    def slide_picture(self, collection: str, slide_id: str) -> Picture | None:
        """Return the picture of the whole slide, if one is kept. Raises as `delete_slide` does."""

    def patch_pictures(
        self, collection: str, slide_id: str, indices: Sequence[int], *, most_bytes: int
    ) -> dict[int, Picture]:
        """Return those patches' pictures that are kept. Raises as `delete_slide` does.

        Reading ends with the first that makes them more than ``most_bytes``.
        """

    def copy_to(self, file: Path) -> None:
        """Write a copy of the store as it is at this moment, while changes go on.

        Args:
            file: Does not exist yet; whole and on disk on return.
        """

    def count_slides(self) -> int:
        """Return how many slides all collections hold, drafts left out."""

    def last_sequence(self) -> int:
        """Return the sequence number of the latest change; 0 before the first."""

    def changes_since(self, sequence: int, *, limit: int = 1000) -> list[Change]:
        """Return up to ``limit`` changes after a sequence number, in order."""

    def close(self) -> None:
        """Give the store free for another service."""
