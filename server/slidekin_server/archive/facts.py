"""The facts of a collection's slides, as immutable versions with look-ups for filters."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from immutables import Map
from numpy.typing import NDArray

from slidekin_server.archive.options import SlideFilter
from slidekin_server.index import Admitted
from slidekin_server.ranking import SlideLabels
from slidekin_server.storage import SlideRecord

_K = TypeVar("_K", bound=Hashable)
_Numbers = Map[int, None]
"""A persistent set of slide numbers."""


@dataclass(frozen=True, eq=False)
class Facts:
    """One version of the facts of a collection's slides.

    A change makes a new version in O(log n) that shares structure with the old one. A search
    keeps the version it began with, at no cost, while slides are added and deleted.
    """

    patch_count: int = 0
    by_number: Map[int, SlideRecord] = field(default_factory=Map)
    xy: Map[int, NDArray[np.int32]] = field(default_factory=Map)
    by_id: Map[str, int] = field(default_factory=Map)
    by_patient: Map[str, _Numbers] = field(default_factory=Map)
    by_label: Map[str, _Numbers] = field(default_factory=Map)
    by_attribute: Map[str, _Numbers] = field(default_factory=Map)
    by_attribute_value: Map[tuple[str, str], _Numbers] = field(default_factory=Map)
    _cache: dict[Hashable, object] = field(default_factory=dict, init=False)
    """Values derived from this version; not passed on to the next one."""

    @classmethod
    def of(cls, slides: Iterable[tuple[SlideRecord, NDArray[np.int32]]]) -> Facts:
        """Build the version that holds these slides.

        Args:
            slides: Records and the corners of their patches; ids must be unique.
        """
        by_number: dict[int, SlideRecord] = {}
        xy: dict[int, NDArray[np.int32]] = {}
        by_patient: dict[str, dict[int, None]] = defaultdict(dict)
        by_label: dict[str, dict[int, None]] = defaultdict(dict)
        by_attribute: dict[str, dict[int, None]] = defaultdict(dict)
        by_attribute_value: dict[tuple[str, str], dict[int, None]] = defaultdict(dict)
        for record, corners in slides:
            number, facts = record.number, record.facts
            by_number[number] = record
            xy[number] = corners
            if facts.patient_id:
                by_patient[facts.patient_id][number] = None
            if facts.label:
                by_label[facts.label][number] = None
            for pair in facts.attributes.items():
                by_attribute[pair[0]][number] = None
                by_attribute_value[pair][number] = None
        return cls(
            patch_count=sum(record.patch_count for record in by_number.values()),
            by_number=Map(by_number),
            xy=Map(xy),
            by_id=Map({record.facts.slide_id: n for n, record in by_number.items()}),
            by_patient=_postings(by_patient),
            by_label=_postings(by_label),
            by_attribute=_postings(by_attribute),
            by_attribute_value=_postings(by_attribute_value),
        )

    def __len__(self) -> int:
        """Return the number of slides."""
        return len(self.by_number)

    def __contains__(self, number: int) -> bool:
        return number in self.by_number

    def record(self, number: int) -> SlideRecord:
        """Return a slide's record by its number; KeyError if this version does not have it."""
        return self.by_number[number]

    def xy_px(self, number: int) -> NDArray[np.int32]:
        """Return the top-left corners of a slide's patches, shape (n, 2), in level-0 pixels."""
        return self.xy[number]

    def find(self, slide_id: str) -> SlideRecord | None:
        """Return a slide's record by its id."""
        number = self.by_id.get(slide_id)
        return None if number is None else self.by_number[number]

    def with_slide(self, record: SlideRecord, xy_px: NDArray[np.int32]) -> Facts:
        """Return a version with this slide, in place of one of the same id."""
        held = self.find(record.facts.slide_id)
        base = self if held is None else self.without(held.number)
        number, facts = record.number, record.facts
        pairs = tuple(facts.attributes.items())
        return replace(
            base,
            patch_count=base.patch_count + record.patch_count,
            by_number=base.by_number.set(number, record),
            xy=base.xy.set(number, xy_px),
            by_id=base.by_id.set(facts.slide_id, number),
            by_patient=_file(base.by_patient, number, _stated(facts.patient_id)),
            by_label=_file(base.by_label, number, _stated(facts.label)),
            by_attribute=_file(base.by_attribute, number, facts.attributes),
            by_attribute_value=_file(base.by_attribute_value, number, pairs),
        )

    def without(self, number: int) -> Facts:
        """Return a version without this slide; KeyError if it is not there."""
        record = self.by_number[number]
        facts = record.facts
        pairs = tuple(facts.attributes.items())
        return replace(
            self,
            patch_count=self.patch_count - record.patch_count,
            by_number=self.by_number.delete(number),
            xy=self.xy.delete(number),
            by_id=self.by_id.delete(facts.slide_id),
            by_patient=_strike(self.by_patient, number, _stated(facts.patient_id)),
            by_label=_strike(self.by_label, number, _stated(facts.label)),
            by_attribute=_strike(self.by_attribute, number, facts.attributes),
            by_attribute_value=_strike(self.by_attribute_value, number, pairs),
        )

    def of_patient(self, patient_id: str) -> list[int]:
        """Return the numbers of a patient's slides, ascending."""
        return sorted(self.by_patient.get(patient_id, ()))

    def labels(self, weight_sum: float) -> SlideLabels:
        """Return the labels for the ranking, with weights scaled to this sum."""
        key = ("labels", weight_sum)
        labels = self._cache.get(key)
        if not isinstance(labels, SlideLabels):
            labels = SlideLabels.of(
                {number: record.facts.label or None for number, record in self.by_number.items()},
                weight_scale=weight_sum,
            )
            # Usually there is one sum; a client that varies it must not fill the memory.
            if len(self._cache) < 8:
                self._cache[key] = labels
        return labels

    def admitted(self, slide_filter: SlideFilter) -> Admitted | None:
        """Return the slides that a filter admits, for the index; None if it admits all."""
        chosen = self._chosen(slide_filter)
        excluded = self._excluded(slide_filter)
        if chosen is not None:
            return Admitted.only(chosen - excluded)
        return Admitted.all_except(excluded) if excluded else None

    def select(
        self, slide_filter: SlideFilter, *, after: int = 0, limit: int | None = None
    ) -> list[SlideRecord]:
        """Return the records that a filter admits, in order of insertion.

        Args:
            slide_filter: The filter.
            after: Only slides with greater numbers.
            limit: Most records to return.
        """
        chosen = self._chosen(slide_filter)
        excluded = self._excluded(slide_filter)
        numbers = self.numbers() if chosen is None else sorted(chosen)
        records: list[SlideRecord] = []
        for position in range(bisect_right(numbers, after), len(numbers)):
            if limit is not None and len(records) >= limit:
                break
            if numbers[position] not in excluded:
                records.append(self.by_number[numbers[position]])
        return records

    def numbers(self) -> list[int]:
        """Return the numbers of all slides, ascending."""
        numbers = self._cache.get("numbers")
        if not isinstance(numbers, list):
            numbers = sorted(self.by_number)
            self._cache["numbers"] = numbers
        return numbers

    def _chosen(self, slide_filter: SlideFilter) -> set[int] | None:
        """Return the slides that meet every positive condition; None if there is no condition."""
        sets: list[set[int]] = []
        if slide_filter.labels:
            sets.append(_union(self.by_label, slide_filter.labels))
        for condition in slide_filter.attributes:
            if condition.values:
                pairs = [(condition.attribute, value) for value in condition.values]
                sets.append(_union(self.by_attribute_value, pairs))
            else:
                sets.append(_union(self.by_attribute, [condition.attribute]))
        if slide_filter.slide_ids is not None:
            sets.append(self._by_ids(slide_filter.slide_ids))
        return set.intersection(*sets) if sets else None

    def _excluded(self, slide_filter: SlideFilter) -> set[int]:
        patients = _union(self.by_patient, slide_filter.exclude_patient_ids)
        return patients | self._by_ids(slide_filter.exclude_slide_ids)

    def _by_ids(self, slide_ids: Iterable[str]) -> set[int]:
        found = (self.by_id.get(slide_id) for slide_id in slide_ids)
        return {number for number in found if number is not None}


def _stated(text: str) -> tuple[str, ...]:
    return (text,) if text else ()


def _postings(sets: Mapping[_K, Mapping[int, None]]) -> Map[_K, _Numbers]:
    return Map({key: Map(numbers) for key, numbers in sets.items()})


def _file(postings: Map[_K, _Numbers], number: int, keys: Iterable[_K]) -> Map[_K, _Numbers]:
    empty: _Numbers = Map()
    for key in keys:
        postings = postings.set(key, postings.get(key, empty).set(number, None))
    return postings


def _strike(postings: Map[_K, _Numbers], number: int, keys: Iterable[_K]) -> Map[_K, _Numbers]:
    for key in keys:
        left = postings[key].delete(number)
        postings = postings.set(key, left) if left else postings.delete(key)
    return postings


def _union(postings: Map[_K, _Numbers], keys: Iterable[_K]) -> set[int]:
    numbers: set[int] = set()
    for key in keys:
        numbers.update(postings.get(key, ()))
    return numbers
