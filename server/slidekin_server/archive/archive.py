"""All collections, kept in step in the store and the indices."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from slidekin_server import index, ranking, storage
from slidekin_server.archive.collection import Collection, View
from slidekin_server.archive.errors import (
    AlreadyExistsError,
    ModelChangedError,
    NotLoadedError,
    PreconditionError,
    slides_not_found,
)
from slidekin_server.archive.names import collection_name, slide_name
from slidekin_server.archive.sameness import has_same_details, is_same_slide, slide_exists
from slidekin_server.archive.shelf import Shelf
from slidekin_server.failpoints import Failpoint, failpoint
from slidekin_server.storage import (
    NO_PICTURES,
    CollectionRecord,
    Picture,
    Pictures,
    SlideFacts,
    SlideRecord,
    Store,
    StoredSlide,
    content_digest,
    drafted_collection,
)
from slidekin_server.telemetry import Metrics, get_logger
from slidekin_server.values import PatchCodes

_log = get_logger(__name__)

_PUBLISHED_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Added:
    """The outcome of adding a slide."""

    record: SlideRecord
    already_present: bool
    index_version: int


class Archive:
    """The collections of one store.

    Every method blocks: call them in a thread. Reads take no lock. Writes are serialised: a
    change is committed to the store (durable), then published in the index (visible), then the
    method returns. A process that dies in between finds the change in the store at its next start.
    """

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._shelf = Shelf(store, metrics)

    @property
    def shelf(self) -> Shelf:
        """The collections in memory, for other classes that change them."""
        return self._shelf

    @property
    def loaded(self) -> bool:
        """Whether every index is built."""
        return self._shelf.loaded

    def load(self, *, threads: int = 1) -> None:
        """Build every index from the store and load the kernels that searches need.

        Args:
            threads: Number of collections to build at a time.

        Raises:
            StorageError: The store cannot be read. Damaged slides raise nothing: they are left
                out of the index, reported to the operator, and refused by name.
        """
        records = self._store.list_collections()
        index.warm_up()
        ranking.warm_up()
        with ThreadPoolExecutor(threads, thread_name_prefix="load") as pool:
            loaded = list(zip(records, pool.map(self._build, records), strict=True))
        drafts = {
            drafted: collection
            for record, collection in loaded
            if (drafted := drafted_collection(record.name)) is not None
        }
        collections = {
            record.name: collection
            for record, collection in loaded
            if drafted_collection(record.name) is None
        }
        self._shelf.fill(collections, drafts)

    def _build(self, record: CollectionRecord) -> Collection:
        damaged: list[storage.DamagedSlideError] = []

        def slides() -> Iterator[StoredSlide]:
            for slide in self._store.iter_slides(record.name, damaged=damaged.append):
                failpoint(Failpoint.INDEX_LOADING)
                yield slide

        collection = Collection(record, slides(), damaged)
        for error in damaged:
            _log.error(
                "damaged slide left out",
                collection=error.collection,
                slide=error.slide_id,
                slide_number=error.number,
            )
        return collection

    def collection(self, collection_id: str) -> Collection:
        """Return a collection.

        Raises:
            NotLoadedError: The indices are still being built.
            NotFoundError: There is no such collection.
        """
        return self._shelf.find(collection_id)

    def view(self, collection_id: str) -> View:
        """Return the current version of a collection; raises as ``collection``."""
        return self.collection(collection_id).view

    def views(self) -> list[View]:
        """Return the current versions of all collections, in order of creation.

        Raises:
            NotLoadedError: The indices are still being built.
        """
        if not self.loaded:
            raise NotLoadedError
        return [collection.view for collection in self._shelf.collections.values()]

    def create_collection(self, record: CollectionRecord) -> View:
        """Create an empty collection; if an equal one exists, return that.

        Raises:
            NotLoadedError: The indices are still being built.
            AlreadyExistsError: A different collection has this name.
        """
        with self._shelf.writing():
            held = self._shelf.collections.get(record.name)
            if held is None:
                created = Collection(self._store.create_collection(record))
                self._shelf.put(record.name, created)
                return created.view
        differences = [
            name
            for name in (
                "fingerprint",
                "texture_bits",
                "hamming_threshold_bits",
                "display_name",
                "description",
            )
            if getattr(held.view.collection, name) != getattr(record, name)
        ]
        if differences:
            raise AlreadyExistsError(
                f"{collection_name(record.name)} is held with another "
                f"{', '.join(differences)}; choose another name, or get and update the one held",
                reason="COLLECTION_ALREADY_EXISTS",
                resource_type="slidekin.v1.Collection",
                names=(collection_name(record.name),),
            )
        return held.view

    def update_collection(
        self, collection_id: str, *, display_name: str | None = None, description: str | None = None
    ) -> View:
        """Change a collection's texts; None keeps a text. Raises as ``collection``."""
        with self._shelf.writing():
            collection = self.collection(collection_id)
            collection.describe(
                self._store.update_collection(
                    collection_id, display_name=display_name, description=description
                )
            )
            return collection.view

    def delete_collection(self, collection_id: str, *, force: bool) -> int:
        """Delete a collection and return the number of slides deleted with it.

        Raises:
            NotLoadedError: The indices are still being built.
            NotFoundError: There is no such collection.
            PreconditionError: It holds slides and ``force`` is not set.
        """
        with self._shelf.writing():
            self.collection(collection_id)
            try:
                deleted = self._store.delete_collection(collection_id, force=force)
            except storage.CollectionNotEmptyError as error:
                name = collection_name(collection_id)
                raise PreconditionError(
                    f"{name} holds {error.slide_count} slides; set force to delete them with it",
                    reason="COLLECTION_NOT_EMPTY",
                    subject=name,
                ) from None
            self._shelf.take(collection_id)
            return len(deleted)

    def held_already(
        self, collection_id: str, facts: SlideFacts, *, replace: bool
    ) -> SlideRecord | None:
        """Look for a slide by its facts, before any of its patches is known.

        Returns:
            The record of the same slide, recognised by its source digest; None if this can only
            be decided from the patches.

        Raises:
            AlreadyExistsError: A different slide has that name and is not to be replaced.
            DamagedSlideError: A slide of that name is damaged and is not to be replaced.
        """
        view = self.view(collection_id)
        held = view.facts.find(facts.slide_id)
        if held is None:
            if not replace:
                view.require_sound(facts.slide_id)
            return None
        same = is_same_slide(held.facts, facts)
        if not same and not replace:
            raise slide_exists(held)
        recognised = (
            same and facts.source_digest and facts.source_digest == held.facts.source_digest
        )
        if recognised and (not replace or has_same_details(held.facts, facts)):
            return held
        return None

    def add_slide(
        self,
        collection_id: str,
        facts: SlideFacts,
        codes: PatchCodes,
        pictures: Pictures = NO_PICTURES,
        *,
        replace: bool = False,
        fingerprint: str | None = None,
    ) -> Added:
        """Add a slide in one step; it is durable and visible on return.

        A slide of the same name and content is left unchanged (its label and attributes may have
        been changed since it was added), unless ``replace`` is set and label or attributes differ.

        Args:
            collection_id: The collection.
            facts: The facts stated about the slide.
            codes: Its patches.
            pictures: Pictures for people.
            replace: Replace another slide of the same name.
            fingerprint: Model that made the codes; None: known to be the collection's.

        Raises:
            ModelChangedError: The collection has another model by now.
            NotFoundError: There is no such collection.
            AlreadyExistsError: A different slide has that name and is not to be replaced.
            StorageError: The slide could not be written and nothing changed; or a slide of that
                name is damaged and is not to be replaced.
        """
        with self._shelf.writing():
            collection = self.collection(collection_id)
            if fingerprint not in (None, collection.view.collection.fingerprint):
                raise ModelChangedError(collection_name(collection_id))
            if not replace:
                collection.view.require_sound(facts.slide_id)
            held = collection.view.facts.find(facts.slide_id)
            if held is not None:
                same = held.content_digest == content_digest(facts, codes)
                if same and (not replace or has_same_details(held.facts, facts)):
                    return Added(
                        held,
                        already_present=True,
                        index_version=collection.view.version,
                    )
                if not replace:
                    raise slide_exists(held)
            replaces = held is not None or facts.slide_id in collection.view.damaged
            added = self._store.add_slide(collection_id, facts, codes, pictures, replace=replaces)
            self._shelf.drop_from_draft(collection_id, [facts.slide_id])
            collection.add(added.record, codes, added.replaced)
            self._shelf.changed()
            return Added(
                added.record,
                already_present=False,
                index_version=collection.view.version,
            )

    def update_slide(
        self,
        collection_id: str,
        slide_id: str,
        *,
        label: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> SlideRecord:
        """Change a slide's facts; None keeps a fact.

        Raises:
            NotFoundError: There is no such collection or slide.
        """
        with self._shelf.writing():
            collection = self.collection(collection_id)
            collection.view.slide(slide_id)
            record = self._store.update_slide(
                collection_id, slide_id, label=label, attributes=attributes
            )
            collection.update(record)
            return record

    def delete_slide(self, collection_id: str, slide_id: str) -> SlideRecord:
        """Delete a slide and return its record.

        Raises:
            NotFoundError: There is no such collection or slide.
        """
        with self._shelf.writing():
            collection = self.collection(collection_id)
            if slide_id not in collection.view.damaged:
                collection.view.slide(slide_id)
            record = self._store.delete_slide(collection_id, slide_id)
            self._shelf.drop_from_draft(collection_id, [slide_id])
            collection.remove([record])
            self._shelf.changed()
            return record

    def delete_patient(self, patient_id: str, *, collection_id: str | None) -> list[SlideRecord]:
        """Delete every slide of a patient and return their records.

        Args:
            patient_id: The patient.
            collection_id: The collection to delete from; None for all.

        Raises:
            NotLoadedError: The indices are still being built.
            NotFoundError: There is no such collection.
        """
        with self._shelf.writing():
            if collection_id is not None:
                self.collection(collection_id)
            everywhere = self._store.delete_patient(patient_id, collection=collection_id)
            deleted = [one for one in everywhere if drafted_collection(one.collection) is None]
            for name in {record.collection for record in deleted}:
                gone = [record for record in deleted if record.collection == name]
                self._shelf.drop_from_draft(name, [record.facts.slide_id for record in gone])
                self.collection(name).remove(gone)
                self._shelf.changed()
            return deleted

    def load_slide(self, collection_id: str, slide_id: str) -> StoredSlide:
        """Read a slide with its codes.

        Raises:
            NotFoundError: There is no such collection or slide.
        """
        self.view(collection_id).slide(slide_id)
        try:
            return self._store.load_slide(collection_id, slide_id)
        except storage.SlideNotFoundError:
            # It was deleted after the check above.
            raise slides_not_found((slide_name(collection_id, slide_id),)) from None

    def stored(self, collection_id: str, slide_id: str) -> tuple[View, StoredSlide]:
        """Read a slide with its codes, and the version of the collection that they belong to.

        A slide that is replaced, or gets the codes of another model, is on disk a moment before
        searches see it. This method waits for that moment to pass.

        Raises:
            NotFoundError: There is no such collection or slide.
            StorageError: The slide could not be read.
        """
        deadline = time.monotonic() + _PUBLISHED_WITHIN_S
        while True:
            view = self.view(collection_id)
            stored = self.load_slide(collection_id, slide_id)
            if stored.record.number in view.facts:
                return view, stored
            if time.monotonic() > deadline:
                raise slides_not_found((slide_name(collection_id, slide_id),))
            # Whoever wrote it holds this lock until searches see it.
            with self._shelf.writing():
                pass

    def pictures(
        self, collection_id: str, slide_id: str, *, patches: list[int], slide: bool, most_bytes: int
    ) -> tuple[Picture | None, dict[int, Picture]]:
        """Read the pictures kept with a slide: the whole slide's and those of some patches.

        Reading ends with the first picture that makes them exceed ``most_bytes``.

        Raises:
            NotFoundError: There is no such collection or slide.
        """
        self.view(collection_id).slide(slide_id)
        try:
            return (
                self._store.slide_picture(collection_id, slide_id) if slide else None,
                self._store.patch_pictures(collection_id, slide_id, patches, most_bytes=most_bytes)
                if patches
                else {},
            )
        except storage.SlideNotFoundError:
            raise slides_not_found((slide_name(collection_id, slide_id),)) from None
