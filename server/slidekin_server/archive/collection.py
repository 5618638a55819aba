"""One collection: what searches see of it, and how a change becomes visible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from immutables import Map
from numpy.typing import NDArray

from slidekin_server.archive.errors import slides_not_found
from slidekin_server.archive.facts import Facts
from slidekin_server.archive.names import collection_name, slide_name
from slidekin_server.failpoints import Failpoint, failpoint
from slidekin_server.index import CollectionIndex, IndexSnapshot
from slidekin_server.storage import CollectionRecord, DamagedSlideError, SlideRecord, StoredSlide
from slidekin_server.values import PatchCodes


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One version of a collection: index and facts of the same moment.

    A search takes one view at its start and uses it to its end, also for the names of slides that
    are deleted in the meantime.
    """

    collection: CollectionRecord
    snapshot: IndexSnapshot
    facts: Facts
    damaged: Map[str, DamagedSlideError] = field(default_factory=Map)
    """Slides whose checksums were wrong when the index was loaded, by id. Never served."""
    version_before: int = 0
    """Number of versions that the collection had with an earlier index."""

    @property
    def name(self) -> str:
        """Resource name of the collection."""
        return collection_name(self.collection.name)

    @property
    def version(self) -> int:
        """Grows with every change of the collection's slides."""
        return self.version_before + self.snapshot.version

    def slide_name(self, number: int) -> str:
        """Return a slide's resource name."""
        return slide_name(self.collection.name, self.facts.record(number).facts.slide_id)

    def slide(self, slide_id: str) -> SlideRecord:
        """Return a slide's record.

        Raises:
            NotFoundError: The collection holds no such slide.
            DamagedSlideError: The slide is damaged and cannot be served.
        """
        record = self.facts.find(slide_id)
        if record is None:
            self.require_sound(slide_id)
            raise slides_not_found((slide_name(self.collection.name, slide_id),))
        return record

    def require_sound(self, slide_id: str) -> None:
        """Refuse a slide that is damaged on disk.

        Raises:
            DamagedSlideError: The slide is damaged.
        """
        damaged = self.damaged.get(slide_id)
        if damaged is not None:
            # A new exception: raising the same one again would extend its traceback each time.
            raise DamagedSlideError(damaged.collection, damaged.slide_id, damaged.number)


class Collection:
    """Index and facts of one collection, kept in step.

    Readers may take ``view`` at any time from any thread. One writer at a time may change the
    collection (it holds the archive's lock); a complete change becomes visible by one assignment.
    """

    def __init__(
        self,
        record: CollectionRecord,
        slides: Iterable[StoredSlide] = (),
        damaged: Sequence[DamagedSlideError] = (),
    ) -> None:
        """Build the index.

        Args:
            record: The collection.
            slides: The slides it holds; iterated once.
            damaged: The slides it holds and cannot serve; read after ``slides``.
        """
        known: list[tuple[SlideRecord, NDArray[np.int32]]] = []

        def codes() -> Iterator[tuple[int, PatchCodes]]:
            # The index keeps the codes; only facts and corners are kept here.
            for slide in slides:
                known.append((slide.record, _own(slide.codes.xy)))
                yield slide.record.number, slide.codes

        self._index = CollectionIndex.build(record.texture_bits, codes())
        self._view = View(
            record,
            self._index.snapshot(),
            Facts.of(known),
            Map({error.slide_id: error for error in damaged}),
        )

    @property
    def view(self) -> View:
        """The current version of the collection."""
        return self._view

    def describe(self, record: CollectionRecord) -> None:
        """Publish a changed record of the collection itself."""
        self._view = replace(self._view, collection=record)

    def add(self, record: SlideRecord, codes: PatchCodes, replaced: SlideRecord | None) -> None:
        """Publish a slide, in place of ``replaced`` if given."""
        if replaced is None or replaced.number not in self._view.facts:
            self._index.add_slide(record.number, codes)
        else:
            self._index.replace_slide(replaced.number, record.number, codes)
        view = self._view
        self._publish(
            view.facts.with_slide(record, _own(codes.xy)),
            _without(view.damaged, record.facts.slide_id),
        )

    def update(self, record: SlideRecord) -> None:
        """Publish changed facts of a slide."""
        facts = self._view.facts
        self._publish(facts.with_slide(record, facts.xy_px(record.number)), self._view.damaged)

    def remove(self, records: Iterable[SlideRecord]) -> None:
        """Publish the collection without these slides."""
        facts, damaged = self._view.facts, self._view.damaged
        for record in records:
            if record.number in facts:
                self._index.remove_slide(record.number)
                facts = facts.without(record.number)
            else:
                damaged = _without(damaged, record.facts.slide_id)
        self._publish(facts, damaged)

    def forget_damaged(self, slide_ids: Iterable[str]) -> None:
        """Publish the collection without those of these slides that were damaged."""
        damaged = self._view.damaged
        for slide_id in slide_ids:
            damaged = _without(damaged, slide_id)
        self._view = replace(self._view, damaged=damaged)

    def become(self, record: CollectionRecord, slides: Iterable[SlideRecord], before: View) -> None:
        """Take the place of another collection, whose slides have other codes here.

        Args:
            record: The record that this collection gets.
            slides: Facts of its slides, which this collection holds already, by number.
            before: The last version of the other collection.
        """
        facts = self._view.facts
        self._view = View(
            record,
            self._index.snapshot(),
            Facts.of((slide, facts.xy_px(slide.number)) for slide in slides),
            version_before=before.version + 1,
        )

    def _publish(self, facts: Facts, damaged: Map[str, DamagedSlideError]) -> None:
        failpoint(Failpoint.BEFORE_PUBLISH)
        self._view = replace(
            self._view, snapshot=self._index.snapshot(), facts=facts, damaged=damaged
        )
        failpoint(Failpoint.AFTER_PUBLISH)


def _without(damaged: Map[str, DamagedSlideError], slide_id: str) -> Map[str, DamagedSlideError]:
    return damaged.delete(slide_id) if slide_id in damaged else damaged


def _own(xy_px: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return a copy that nobody else changes and that keeps no larger buffer alive."""
    copy = np.array(xy_px, dtype=np.int32)
    copy.setflags(write=False)
    return copy
