"""The judge of the fault rounds sees what it is there to see."""

from __future__ import annotations

import math

from tests.faults.model import Model


def added(model: Model, slide: str, version: int | None) -> None:
    model.acknowledge(model.begin([slide], version))


def faults(model: Model, **found: int) -> list[str]:
    now = model.tick()
    return model.judge(found, now, now)


def test_a_lost_slide_is_seen():
    model = Model()
    added(model, "a", 1)
    assert not faults(model, a=1)
    assert "lost" in faults(model)[0]


def test_an_old_version_is_seen():
    model = Model()
    added(model, "a", 1)
    added(model, "a", 2)
    assert not faults(model, a=2)
    assert "out of date" in faults(model, a=1)[0]


def test_a_slide_back_from_the_dead_is_seen():
    model = Model()
    added(model, "a", 1)
    added(model, "a", None)
    assert not faults(model)
    assert "dead" in faults(model, a=1)[0]


def test_a_slide_nobody_asked_for_is_seen():
    assert "never asked for" in faults(Model(), b=3)[0]


def test_what_was_not_acknowledged_may_count_or_not():
    model = Model()
    added(model, "a", 1)
    model.begin(["a"], 2)
    assert not faults(model, a=1)
    assert not faults(model, a=2)
    assert faults(model)


def test_what_was_refused_must_not_count():
    model = Model()
    model.refuse(model.begin(["a"], 1))
    assert faults(model, a=1)


def test_of_changes_at_the_same_time_either_may_be_the_last():
    model = Model()
    one, other = model.begin(["a"], 1), model.begin(["a"], None)
    model.acknowledge(one)
    model.acknowledge(other)
    assert not faults(model, a=1)
    assert not faults(model)


def test_a_read_over_some_time_may_see_what_was_true_in_it():
    model = Model()
    added(model, "a", 1)
    since = model.tick()
    added(model, "a", 2)
    assert model.possible("a", since, math.inf) == {1, 2}
    assert model.possible("a", model.tick(), math.inf) == {2}
    assert model.possible("a", since, since) == {1}


def test_after_a_restart_only_what_was_found_counts():
    model = Model()
    model.begin(["a"], 1)
    model.settle({})
    assert faults(model, a=1)
    model.settle({"a": 7})
    assert not faults(model, a=7)
    assert faults(model)


def test_what_was_lost_may_count_until_the_service_is_gone():
    model = Model()
    added(model, "a", 1)
    model.lose(model.begin(["a"], 2))
    added(model, "a", 3)
    assert not faults(model, a=2), "it may come late"
    model.died()
    assert not faults(model, a=2)
    assert not faults(model, a=3)
    added(model, "a", 4)
    assert faults(model, a=2)
    assert not faults(model, a=4)


def test_forgetting_changes_no_verdict():
    model = Model()
    for version in range(1, 5):
        added(model, "a", version)
    model.refuse(model.begin(["a"], 5))
    model.lose(model.begin(["a"], 6))
    added(model, "a", 7)
    open_one = model.begin(["a"], 8)
    now = model.tick()
    before = model.possible("a", now, now)
    model.forget(now)
    assert model.possible("a", now, now) == before == {6, 7, 8}
    model.acknowledge(open_one)
    now = model.tick()
    assert model.possible("a", now, now) == {6, 8}
