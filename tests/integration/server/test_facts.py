"""Look-ups and filters over slides agree with a plain walk, through any changes."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slidekin_server.archive.facts import Facts
from slidekin_server.archive.options import AttributeCondition, SlideFilter
from slidekin_server.storage import SlideFacts, SlideRecord

_TEXTS = st.sampled_from(["", "a", "b", "c"])
_STATED = st.sampled_from(["a", "b", "c", "nowhere"])
_IDS = st.sampled_from([f"s{number}" for number in range(6)])
_CHANGES = st.lists(
    st.tuples(st.booleans(), _IDS, _TEXTS, _TEXTS, st.dictionaries(_STATED, _TEXTS, max_size=2)),
    max_size=12,
)
_FILTERS = st.builds(
    SlideFilter,
    labels=st.frozensets(_STATED, max_size=2),
    attributes=st.lists(
        st.builds(AttributeCondition, _STATED, st.frozensets(_TEXTS, max_size=2)), max_size=2
    ).map(tuple),
    slide_ids=st.none() | st.frozensets(_IDS),
    exclude_patient_ids=st.frozensets(_STATED, max_size=2),
    exclude_slide_ids=st.frozensets(_IDS, max_size=2),
)
_XY = np.zeros((2, 2), dtype=np.int32)


def _admits(condition: SlideFilter, facts: SlideFacts) -> bool:
    return (
        (not condition.labels or facts.label in condition.labels)
        and all(
            one.attribute in facts.attributes
            and (not one.values or facts.attributes[one.attribute] in one.values)
            for one in condition.attributes
        )
        and (condition.slide_ids is None or facts.slide_id in condition.slide_ids)
        and facts.patient_id not in condition.exclude_patient_ids
        and facts.slide_id not in condition.exclude_slide_ids
    )


@given(_CHANGES, _FILTERS, st.integers(0, 12))
def test_filters_agree_with_a_plain_walk(
    changes: list[tuple[bool, str, str, str, dict[str, str]]], condition: SlideFilter, after: int
) -> None:
    facts, held = Facts(), dict[str, SlideRecord]()
    for number, (adds, slide_id, patient, label, attributes) in enumerate(changes, start=1):
        gone = held.pop(slide_id, None)
        if adds:
            stated = SlideFacts(slide_id, patient, label, attributes)
            record = SlideRecord(number, "c", stated, "", 2, datetime.now(UTC))
            held[slide_id] = record
            facts = facts.with_slide(record, _XY)
        elif gone is not None:
            facts = facts.without(gone.number)
    right = sorted(record.number for record in held.values() if _admits(condition, record.facts))
    for version in (facts, Facts.of((record, _XY) for record in held.values())):
        assert len(version) == len(held)
        assert version.patch_count == 2 * len(held)
        assert [record.number for record in version.select(condition)] == right
        later = [record.number for record in version.select(condition, after=after, limit=3)]
        assert later == [number for number in right if number > after][:3]
        admitted = version.admitted(condition)
        chosen = [
            record.number
            for record in held.values()
            if admitted is None or record.number in admitted
        ]
        assert sorted(chosen) == right
        for patient in ("a", "b"):
            of_patient = {r.number for r in held.values() if r.facts.patient_id == patient}
            left_out = version.admitted(SlideFilter(exclude_patient_ids=frozenset([patient])))
            assert all(left_out is None or n not in left_out for n in of_patient)
