"""The collections in memory: what readers see, and the lock of the writers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from slidekin_server.archive.collection import Collection
from slidekin_server.archive.errors import NotLoadedError, collection_not_found
from slidekin_server.archive.names import collection_name
from slidekin_server.storage import SlideRecord, Store
from slidekin_server.telemetry import Metrics


class Shelf:
    """Collections and drafts of one store. Readers take no lock: mappings are replaced whole.

    Args:
        store: The store that holds them.
        metrics: The metrics to update.
    """

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self.store = store
        self._metrics = metrics
        self._write_lock = threading.Lock()
        self._collections: Mapping[str, Collection] = {}
        self._drafts: Mapping[str, Collection] = {}
        self._loaded = False

    @property
    def loaded(self) -> bool:
        """Whether every index is built."""
        return self._loaded

    @property
    def collections(self) -> Mapping[str, Collection]:
        """Collections by id, in order of creation; later changes do not show in it."""
        return self._collections

    def find(self, collection_id: str) -> Collection:
        """Return a collection.

        Raises:
            NotLoadedError: The indices are still being built.
            NotFoundError: There is no such collection.
        """
        if not self._loaded:
            raise NotLoadedError
        collection = self._collections.get(collection_id)
        if collection is None:
            raise collection_not_found(collection_name(collection_id))
        return collection

    def draft(self, collection_id: str) -> Collection | None:
        """Return the draft of a collection; None if no reindex is in progress."""
        return self._drafts.get(collection_id)

    def fill(self, collections: Mapping[str, Collection], drafts: Mapping[str, Collection]) -> None:
        """Show the collections and drafts that were loaded."""
        with self._write_lock:
            self._collections, self._drafts = collections, drafts
            self._loaded = True
            self._count()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock of writers, but do not wait for it while the indices are being built."""
        if not self._loaded:
            raise NotLoadedError
        with self._write_lock:
            yield

    # Call the methods below only while holding the lock.

    def put(self, collection_id: str, collection: Collection) -> None:
        """Show a collection; it replaces one of the same id in one step."""
        self._collections = {**self._collections, collection_id: collection}
        self._count()

    def take(self, collection_id: str) -> None:
        """Remove a collection and its draft."""
        self._collections = _without(self._collections, collection_id)
        self.take_draft(collection_id)
        self._count()

    def put_draft(self, collection_id: str, draft: Collection) -> None:
        """Keep a collection's draft."""
        self._drafts = {**self._drafts, collection_id: draft}

    def take_draft(self, collection_id: str) -> None:
        """Remove a collection's draft, if there is one."""
        self._drafts = _without(self._drafts, collection_id)

    def drop_from_draft(self, collection_id: str, slide_ids: list[str]) -> None:
        """Remove slides that were changed or deleted from a draft, as the store already did."""
        draft = self._drafts.get(collection_id)
        if draft is None:
            return
        found: list[SlideRecord] = []
        for slide_id in slide_ids:
            record = draft.view.facts.find(slide_id)
            if record is not None:
                found.append(record)
        draft.remove(found)
        draft.forget_damaged(slide_ids)

    def changed(self) -> None:
        """Count a new version of a collection."""
        self._metrics.index_versions.inc()
        self._count()

    def _count(self) -> None:
        facts = [collection.view.facts for collection in self._collections.values()]
        self._metrics.collections.set(len(facts))
        self._metrics.slides.set(sum(len(held) for held in facts))
        self._metrics.patches.set(sum(held.patch_count for held in facts))
        self._metrics.damaged_slides.set(
            sum(len(collection.view.damaged) for collection in self._collections.values())
        )


def _without(collections: Mapping[str, Collection], name: str) -> Mapping[str, Collection]:
    return {other: held for other, held in collections.items() if other != name}
