"""Encoding a collection anew with another model, while searches continue with the old codes.

The new codes are collected in a **draft**, which is stored like a collection but is not visible.
A slide that is replaced in the collection or deleted from it leaves the draft in the same step, so
every slide in the draft is in the collection unchanged. A reindex is complete when every slide of
the collection is in the draft; the draft may then replace the collection in one transaction. A
slide added in the meantime is simply still to be encoded.
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
    """The progress of a reindex: collection and draft of the same moment."""

    view: View
    """The collection, with its old codes."""
    draft: View
    """The slides encoded anew."""

    def pending(self, *, after: int = 0, limit: int | None = None) -> list[SlideRecord]:
        """Return the slides that are still to be encoded, in order of insertion.

        Args:
            after: Only slides with greater numbers.
            limit: Most slides to return.
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
        """Return a collection's reindex; None if none is in progress.

        Raises:
            NotLoadedError, NotFoundError: The collection is not available.
        """
        draft = self._shelf.draft(collection_id)
        view = self._shelf.find(collection_id).view
        return None if draft is None else Reindex(view, draft.view)

    def draft_model(self, collection_id: str) -> str:
        """Return the fingerprint of the model that a reindex gives a collection; empty: none."""
        draft = self._shelf.draft(collection_id)
        return "" if draft is None else draft.view.collection.fingerprint

    def get(self, collection_id: str) -> Reindex:
        """Return a collection's reindex.

        Raises:
            NotLoadedError, NotFoundError: The collection is not available.
            PreconditionError: No reindex is in progress.
        """
        found = self.find(collection_id)
        if found is None:
            raise _no_reindex(collection_id)
        return found

    def start(self, record: CollectionRecord) -> Reindex:
        """Begin a reindex; if one with the same model is in progress, return that.

        Args:
            record: The collection's name, and its new model.

        Raises:
            NotLoadedError, NotFoundError: The collection is not available.
            PreconditionError: The collection has that model already, or is being reindexed with
                another one.
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
        """Return the outcome if a slide is already encoded anew."""
        record = reindex.draft.facts.find(slide_id)
        if record is None or reindex.view.facts.find(slide_id) is None:
            return None
        return Added(record, already_present=True, index_version=0)

    def add_slide(self, reindex: Reindex, slide_id: str, codes: PatchCodes) -> Added:
        """Store a slide's new codes; they are durable on return, and not yet visible.

        Args:
            reindex: The reindex as it was when the encoding began.
            slide_id: The slide.
            codes: New codes of the same patches as the old codes, in the same order.

        Raises:
            NotFoundError: The slide was deleted in the meantime.
            PreconditionError: The slide was replaced, or the reindex ended, in the meantime.
            InvalidArgumentError: The patches differ from those of the old codes.
            StorageError: The slide could not be written.
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
        """Replace the collection by its draft in one step; durable and visible on return.

        If the collection has that model already and no reindex, it is returned unchanged.

        Args:
            collection_id: The collection.
            fingerprint: Its new model.
            drop: Ids of slides to delete if they are not encoded anew.

        Returns:
            The collection, and the ids of the slides that were deleted.

        Raises:
            NotLoadedError, NotFoundError: The collection is not available.
            PreconditionError: No reindex with that model is in progress, or slides are missing.
            StorageError: The change could not be written; nothing has changed.
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
            # If the collection's own slide was damaged, the draft's is dropped too.
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
        """Delete a draft and return the number of slides it held; 0 if there was none.

        Raises:
            NotLoadedError, NotFoundError: The collection is not available.
        """
        with self._shelf.writing():
            self._shelf.find(collection_id)
            if self._shelf.draft(collection_id) is None:
                return 0
            deleted = self._shelf.store.delete_collection(draft_name(collection_id), force=True)
            self._shelf.take_draft(collection_id)
            return len(deleted)


def slide_changed(name: str) -> PreconditionError:
    """Return the error for a slide that changed after its encoding began."""
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
