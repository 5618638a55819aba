"""Who comes next: searches before ingest, each caller alike, the first call first."""

from __future__ import annotations

import pytest

from slidekin_server.admission.line import FairLine
from slidekin_server.admission.ticket import Ticket
from slidekin_server.callers import Caller, Urgency


def search(identity: str) -> Ticket:
    return Ticket(Caller(identity, Urgency.INTERACTIVE))


def ingest(identity: str) -> Ticket:
    return Ticket(Caller(identity, Urgency.BULK))


def served(line: FairLine[str]) -> list[str]:
    order = []
    while (place := line.next()) is not None:
        order.append(place.what)
    return order


def test_identities_take_turns_however_much_each_has_waiting():
    line: FairLine[str] = FairLine(bulk_every=8)
    many, few = search("many"), search("few")
    for number in range(5):
        line.join(many, f"many {number}")
    for number in range(2):
        line.join(few, f"few {number}")
    order = ["many 0", "few 0", "many 1", "few 1", "many 2", "many 3", "many 4"]
    assert served(line) == order


def test_a_search_goes_before_all_ingest_that_waits():
    line: FairLine[str] = FairLine(bulk_every=8)
    for number in range(20):
        line.join(ingest("scanner"), f"ingest {number}")
    line.join(search("doctor"), "search")
    assert line.next().what == "search"


def test_ingest_has_one_turn_in_so_many_under_any_load_of_searches():
    line: FairLine[str] = FairLine(bulk_every=4)
    for _ in range(100):
        line.join(search("doctor"), "search")
        line.join(ingest("scanner"), "ingest")
    assert [line.next().what for _ in range(8)] == (["search"] * 3 + ["ingest"]) * 2


def test_of_one_identity_the_call_that_began_first_is_finished_first():
    line: FairLine[str] = FairLine(bulk_every=8)
    first, second = search("doctor"), search("doctor")
    line.join(second, "second, patch 0")
    line.join(first, "first, patch 0")
    line.join(second, "second, patch 1")
    line.join(first, "first, patch 1")
    assert served(line) == [
        "first, patch 0",
        "first, patch 1",
        "second, patch 0",
        "second, patch 1",
    ]


def test_what_left_is_passed_over_and_leaves_nothing_behind():
    line: FairLine[str] = FairLine(bulk_every=8)
    doctor = search("doctor")
    places = [line.join(doctor, str(number)) for number in range(3)]
    line.leave(places[1])
    line.leave(places[1])
    assert len(line) == 2
    assert served(line) == ["0", "2"]
    line.leave(places[0])
    assert len(line) == 0
    assert not any(line._classes.values())


@pytest.mark.parametrize(("mine", "others", "ahead"), [(0, 0, 0), (3, 0, 3), (0, 9, 1), (2, 9, 5)])
def test_the_turns_ahead_are_ones_own_and_as_many_of_each_other(mine: int, others: int, ahead: int):
    line: FairLine[str] = FairLine(bulk_every=8)
    for _ in range(mine):
        line.join(search("me"), "mine")
    for _ in range(others):
        line.join(search("other"), "other")
    assert line.ahead(search("me")) == ahead
