"""A client of the fault rounds sees answers that cannot be."""

from __future__ import annotations

import random
from pathlib import Path

import grpc
import pytest
from tests.faults.asked import CallFailedError, Found
from tests.faults.client import JudgedClient
from tests.faults.content import SLIDES, content
from tests.faults.history import History
from tests.faults.model import GENERATION, Model


class Answers:
    """A service that says what a test wants it to say."""

    def __init__(self, answer: Found | CallFailedError) -> None:
        self.answer = answer

    def search(self, version: int, generation: int, *, exact: bool) -> Found:
        if isinstance(self.answer, CallFailedError):
            raise self.answer
        return self.answer

    def add(self, slide: str, version: int, generation: int, *, replace: bool) -> None:
        if isinstance(self.answer, CallFailedError):
            raise self.answer

    def delete(self, slide: str) -> None:
        self.add(slide, 0, 0, replace=False)

    def delete_patient(self, patient_id: str) -> None:
        self.add(patient_id, 0, 0, replace=False)


VERSION = 2
SLIDE = SLIDES[0]
CODES = content(VERSION)


def hits(slide: str = SLIDE, patches: int = len(CODES), generation: int = 0) -> Found:
    keys = content(VERSION, generation).keys
    return Found(
        {i: frozenset({(slide, int(keys[i]))} if i < patches else ()) for i in range(len(CODES))},
        [(slide, VERSION)] if patches else [],
    )


def said(tmp_path: Path, answer: Found | CallFailedError, *, generation: int = 0) -> list[str]:
    """Have a client search for a slide that is there, in generation 0; return its complaints."""
    model, faults = Model(), []
    model.settle({**dict.fromkeys(SLIDES, VERSION), GENERATION: 0})
    history = History(tmp_path / "history.jsonl")
    client = JudgedClient(
        Answers(answer), model, history, new_version=lambda: 99, tell=faults.append,
        generation=generation,
    )  # fmt: skip
    chance = random.Random(0)
    chance.choice = lambda among: among[0]  # type: ignore[method-assign]
    client.search(chance)
    history.close()
    return faults


def test_a_right_answer_is_accepted(tmp_path: Path):
    assert not said(tmp_path, hits())


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (hits(patches=0), "missed"),
        (hits(patches=1), "saw 1 of"),
        (hits(slide=SLIDES[1]), "found"),
        (hits(generation=1), "found"),
    ],
)
def test_a_wrong_answer_is_seen(tmp_path: Path, answer: Found, complaint: str):
    assert any(complaint in fault for fault in said(tmp_path, answer))


def test_an_answer_to_codes_of_another_model_is_seen(tmp_path: Path):
    faults = said(tmp_path, hits(generation=1), generation=1)
    assert any("generation 1" in fault for fault in faults)


def test_codes_of_the_right_model_must_not_be_refused(tmp_path: Path):
    refused = CallFailedError(
        grpc.StatusCode.FAILED_PRECONDITION,
        "other model",
        reason="MODEL_FINGERPRINT_MISMATCH",
        refused=True,
    )
    assert "refused" in said(tmp_path, refused)[0]
    assert not said(tmp_path, refused, generation=1)
