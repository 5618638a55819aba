"""A collection encoded anew with another model, while searches go on with the old codes.

The new codes gather in a **draft**, which is kept like a collection and shown to nobody. It holds
no slide that the collection does not hold as it was encoded: what is replaced or deleted there
goes from the draft in the same step. So a reindex is complete when every slide of the collection
has one in the draft, and may then take the collection's place in one transaction. A slide that was
added meanwhile is simply one that is still to do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection as Ids
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from slidekin_server.archive.archive import Added
from slidekin_server.archive.collection import Collection, View
from slidekin_server.archive.errors import InvalidArgumentError, PreconditionError
from slidekin_server.archive.names import collection_name, slide_name
from slidekin_server.archive.shelf import Shelf
from slidekin_server.failpoints import Failpoint, failpoint
from slidekin_server.storage import CollectionRecord, SlideRecord, draft_name
from slidekin_server.telemetry import get_logger
from slidekin_server.values import PatchCodes

_NAMED = 20
"""Slides named in one message."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reindex:
    """How far a reindex is: collection and draft of the same moment."""

    view: View
    """The collection, with its old codes."""
    draft: View
    """What is encoded anew."""

    def pending(self, *, after: int = 0, limit: int | None = None) -> list[SlideRecord]:
        """Return slides that are still to do, in order of insertion.

        Args:
            after: Only slides of greater numbers.
            limit: At most so many.
        """
        facts, numbers = self.view.facts, self.view.facts.numbers()
        behind = (facts.record(number) for number in numbers[bisect_right(numbers, after) :])
        to_do = (slide for slide in behind if slide.facts.slide_id not in self.draft.facts.by_id)
        return list(islice(to_do, limit))


class Reindexer:
    """Starts, feeds and ends reindexes. Every method blocks: call them in a thread.

    Args:
        shelf: The collections and their drafts.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def find(self, collection_id: str) -> Reindex | None:
        """Return a collection's reindex; None where none is under way.

        Raises:
            NotLoadedError, NotFoundError: The collection is not to be had.
        """
        draft = self._shelf.draft(collection_id)
        view = self._shelf.find(collection_id).view
        return None if draft is None else Reindex(view, draft.view)

    def draft_model(self, collection_id: str) -> str:
        """Return the fingerprint of the model that a collection is being given; empty: of none."""
        draft = self._shelf.draft(collection_id)
        return "" if draft is None else draft.view.collection.fingerprint

    def get(self, collection_id: str) -> Reindex:
        """Return a collection's reindex.

        Raises:
            NotLoadedError, NotFoundError: The collection is not to be had.
            PreconditionError: None is under way.
        """
        found = self.find(collection_id)
        if found is None:
            raise _no_reindex(collection_id)
        return found

    def start(self, record: CollectionRecord) -> Reindex:
        """Begin a reindex; one that is under way with the same model is returned as it stands.

        Args:
            record: The collection's name, and the model it is to have.

        Raises:
            NotLoadedError, NotFoundError: The collection is not to be had.
            PreconditionError: It has that model already, or is being given another one.
        """
        name = collection_name(record.name)
        with self._shelf.writing():
            collection = self._shelf.find(record.name)
            draft = self._shelf.draft(record.name)
            if draft is None:
                if collection.view.collection.fingerprint == record.fingerprint:
                    raise PreconditionError(
                        f"{name} holds codes of model {record.fingerprint} already",
                        reason="MODEL_UNCHANGED",
                        subject=name,
                    )
                made = replace(record, name=draft_name(record.name))
                draft = Collection(self._shelf.store.create_collection(made))
                self._shelf.put_draft(record.name, draft)
            held = draft.view.collection
            if _model(held) != _model(record):
                raise PreconditionError(
                    f"{name} is being given model {held.fingerprint} ({held.texture_bits} bits, "
                    f"alike up to {held.hamming_threshold_bits}): finish that, or cancel it",
                    reason="REINDEX_IN_PROGRESS",
                    subject=name,
                )
            return Reindex(collection.view, draft.view)

    def held_already(self, reindex: Reindex, slide_id: str) -> Added | None:
        """Return the outcome where a slide is encoded anew already."""
        record = reindex.draft.facts.find(slide_id)
        if record is None or reindex.view.facts.find(slide_id) is None:
            return None
        return Added(record, already_present=True, index_version=0)

    def add_slide(self, reindex: Reindex, slide_id: str, codes: PatchCodes) -> Added:
        """Keep a slide's new codes: durable on return, and seen by nobody yet.

        Args:
            reindex: As it stood when the encoding began.
            slide_id: The slide.
            codes: Of its patches, which are those of its old codes in the same order.

        Raises:
            NotFoundError: The slide was deleted meanwhile.
            PreconditionError: It was replaced, or the reindex ended, meanwhile.
            InvalidArgumentError: The patches are others.
            StorageError: It could not be written.
        """
        collection_id = reindex.view.collection.name
        with self._shelf.writing():
            view = self._shelf.find(collection_id).view
            draft = self._shelf.draft(collection_id)
            if draft is None or draft.view.collection != reindex.draft.collection:
                raise _no_reindex(collection_id)
            record = view.slide(slide_id)
            name = slide_name(collection_id, slide_id)
            if record.number not in reindex.view.facts:
                raise slide_changed(name)
            held = draft.view.facts.find(slide_id)
            if held is not None:
                return Added(held, already_present=True, index_version=0)
            if not np.array_equal(codes.xy, view.facts.xy_px(record.number)):
                raise InvalidArgumentError(
                    "patches",
                    f"are not those of {name}, in their order: export the slide, and read its "
                    "patches where they lie",
                    reason="OTHER_PATCHES",
                )
            damaged = slide_id in draft.view.damaged
            added = self._shelf.store.add_slide(
                draft_name(collection_id), record.facts, codes, replace=damaged
            )
            draft.add(added.record, codes, added.replaced)
            return Added(added.record, already_present=False, index_version=0)

    def finish(
        self, collection_id: str, fingerprint: str, *, drop: Ids[str]
    ) -> tuple[View, list[str]]:
        """Let the draft take its collection's place: durable and visible on return, in one step.

        A collection that has that model, and no reindex, is returned as it is.

        Args:
            collection_id: The collection.
            fingerprint: The model it is to have.
            drop: Ids of slides that are deleted where they are not encoded anew.

        Returns:
            The collection, and the ids of the slides that were deleted.

        Raises:
            NotLoadedError, NotFoundError: The collection is not to be had.
            PreconditionError: No reindex with that model is under way, or slides are missing.
            StorageError: It could not be written, and nothing has changed.
        """
        name = collection_name(collection_id)
        with self._shelf.writing():
            collection, draft = self._shelf.find(collection_id), self._shelf.draft(collection_id)
            view = collection.view
            if draft is None:
                if view.collection.fingerprint == fingerprint:
                    return view, []
                raise _no_reindex(collection_id)
            if draft.view.collection.fingerprint != fingerprint:
                raise PreconditionError(
                    f"{name} is being given model {draft.view.collection.fingerprint}, not "
                    f"{fingerprint}: name that one, or cancel it and start anew",
                    reason="REINDEX_IN_PROGRESS",
                    subject=name,
                )
            made = draft.view.facts
            keep = {slide_id for slide_id in made.by_id if slide_id in view.facts.by_id}
            missing = ({*view.facts.by_id} | {*view.damaged}) - keep
            if missing - set(drop):
                raise _incomplete(collection_id, missing - set(drop))
            record, slides = self._shelf.store.adopt_draft(collection_id, keep)
            # Where the collection's own slide was damaged, the draft's goes with it.
            draft.remove(
                [slide for slide in made.by_number.values() if slide.facts.slide_id not in keep]
            )
            failpoint(Failpoint.BEFORE_PUBLISH)
            draft.become(record, slides, before=view)
            self._shelf.take_draft(collection_id)
            self._shelf.put(collection_id, draft)
            failpoint(Failpoint.AFTER_PUBLISH)
            self._shelf.changed()
            _log.info("collection reindexed", collection=collection_id, slides=len(slides))
            return draft.view, sorted(missing)

    def cancel(self, collection_id: str) -> int:
        """Throw a draft away and return the number of slides it held; 0 where there was none.

        Raises:
            NotLoadedError, NotFoundError: The collection is not to be had.
        """
        with self._shelf.writing():
            self._shelf.find(collection_id)
            if self._shelf.draft(collection_id) is None:
                return 0
            deleted = self._shelf.store.delete_collection(draft_name(collection_id), force=True)
            self._shelf.take_draft(collection_id)
            return len(deleted)


def slide_changed(name: str) -> PreconditionError:
    """Return the error for a slide that is not any more what was encoded anew."""
    return PreconditionError(
        f"{name} was replaced while it was being encoded: encode it again",
        reason="SLIDE_CHANGED",
        subject=name,
    )


def _model(record: CollectionRecord) -> tuple[str, int, int]:
    return record.fingerprint, record.texture_bits, record.hamming_threshold_bits


def _no_reindex(collection_id: str) -> PreconditionError:
    name = collection_name(collection_id)
    return PreconditionError(
        f"{name} is not being reindexed with that model (any more): start it first",
        reason="NO_REINDEX",
        subject=name,
    )


def _incomplete(collection_id: str, missing: set[str]) -> PreconditionError:
    names = sorted(missing)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return PreconditionError(
        f"{len(names)} slides of {collection_name(collection_id)} are not encoded anew yet: "
        f"{', '.join(names[:_NAMED])}{more}; encode them, or name them in drop_slides to have them "
        "deleted",
        reason="REINDEX_INCOMPLETE",
        subject=collection_name(collection_id),
    )
