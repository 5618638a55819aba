"""What judges a chaos run sees what it is there to see."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.chaos.asked import as_codes
from tests.chaos.calls import BUDGET_S, CallLog, CallRecord, Kind
from tests.chaos.look import half_there
from tests.faults.asked import CallFailedError
from tests.faults.content import content

from slidekin import ExportedSlide, NotFoundError, Slide, UnavailableError


def ended(code: str, reason: str = "", message: str = "said", took_s: float = 1) -> CallRecord:
    return CallRecord(Kind.INGEST, 0, took_s, code, reason, message)


@pytest.mark.parametrize(
    "record",
    [
        ended("OK"),
        ended("NOT_FOUND", "SLIDE_NOT_FOUND"),
        ended("RESOURCE_EXHAUSTED", "STORE_FULL"),
        ended("UNAVAILABLE"),
        ended("DEADLINE_EXCEEDED"),
    ],
)
def test_a_failure_with_a_code_and_a_reason_is_accepted(record: CallRecord):
    assert record.objection() is None


@pytest.mark.parametrize(
    "record",
    [
        ended("INTERNAL", "INCIDENT"),
        ended("UNKNOWN"),
        ended("RESOURCE_EXHAUSTED"),
        ended("ConnectionResetError"),
        ended("UNAVAILABLE", message=""),
        ended("OK", took_s=BUDGET_S + 60),
    ],
)
def test_a_failure_that_says_nothing_and_a_call_that_hangs_are_objected_to(record: CallRecord):
    assert record.objection() is not None


def test_networks_that_are_too_slow_are_the_machines_but_for_codes_there_is_no_such_excuse():
    refused = ended("RESOURCE_EXHAUSTED", "OVERLOADED")
    assert not refused.overload
    assert dataclasses.replace(refused, kind=Kind.IMAGE_SEARCH).overload
    assert not dataclasses.replace(ended("UNAVAILABLE"), kind=Kind.IMAGE_SEARCH).overload


def test_a_call_that_may_have_been_made_twice_is_not_taken_for_refused(
    monkeypatch: pytest.MonkeyPatch,
):
    times = iter([0.0, 0.1, 0.0, 5.0, 0.0, 5.0])
    monkeypatch.setattr("tests.chaos.calls.time.monotonic", lambda: next(times))
    log = CallLog()
    refused = []
    for repeatable in (True, True, False):
        with pytest.raises(CallFailedError) as caught, log.call(Kind.INGEST, repeatable=repeatable):
            raise NotFoundError("not there", code="NOT_FOUND", reason="SLIDE_NOT_FOUND")
        refused.append(caught.value.refused)
    assert refused == [True, False, True]


def test_every_call_is_noted_once_with_how_it_ended():
    log = CallLog()
    with log.call(Kind.SEARCH, repeatable=True):
        pass
    with pytest.raises(CallFailedError), log.call(Kind.INGEST, repeatable=True):
        raise UnavailableError("gone", code="UNAVAILABLE")
    with pytest.raises(KeyError), log.call(Kind.DELETE, repeatable=False):
        raise KeyError("a bug of the SDK")
    assert [record.code for record in log.records] == ["OK", "UNAVAILABLE", "KeyError"]
    assert log.first_answer_s(Kind.SEARCH, 0) == log.records[0].end_s
    assert log.first_answer_s(Kind.INGEST, 0) is None
    assert log.first_answer_s(Kind.SEARCH, log.records[0].end_s) is None


def test_a_slide_with_a_patch_less_or_a_bit_changed_is_half_there():
    version = 7
    codes = as_codes(content(version))
    name = "collections/codes/slides/slide-01"
    facts = Slide(name, label=str(version), patch_count=len(codes))
    whole = ExportedSlide(facts, codes, "f" * 64)
    assert not list(half_there(whole))
    less = dataclasses.replace(
        codes, keys=codes.keys[1:], textures=codes.textures[1:], xy=codes.xy[1:]
    )
    assert list(half_there(dataclasses.replace(whole, codes=less)))
    changed = dataclasses.replace(codes, textures=codes.textures ^ np.uint8(1))
    assert list(half_there(dataclasses.replace(whole, codes=changed)))
