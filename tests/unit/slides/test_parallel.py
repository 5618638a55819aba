from __future__ import annotations

import threading

import pytest

from slidekin.slides._parallel import ordered_map


def test_results_come_in_order_whoever_is_first():
    late = threading.Event()

    def work(number):
        if number == 0:
            assert late.wait(timeout=30)
        else:
            late.set()
        return number * 2

    assert list(ordered_map(work, range(10), workers=2)) == [number * 2 for number in range(10)]


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (2, 5), (4, 2)])
def test_no_more_is_begun_than_asked_for_plus_the_bound(workers, ahead):
    begun = []

    def work(number):
        begun.append(number)
        return number

    for consumed, number in enumerate(ordered_map(work, range(30), workers=workers, ahead=ahead)):
        assert number == consumed
        assert len(begun) <= consumed + 1 + ahead
    assert begun != []


def test_error_comes_where_its_result_would_have_and_the_rest_is_dropped():
    begun = []

    def work(number):
        begun.append(number)
        if number == 3:
            raise LookupError("three")
        return number

    results = ordered_map(work, range(1000), workers=2, ahead=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(LookupError, match="three"):
        next(results)
    assert len(begun) < 12


def test_closing_early_stops_the_threads():
    results = ordered_map(lambda number: number, range(1000), workers=2)
    assert next(results) == 0
    results.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("slidekin-read")]


def test_nothing_in_nothing_out():
    assert list(ordered_map(str, [])) == []


@pytest.mark.parametrize("options", [{"workers": 0}, {"ahead": 0}])
def test_bounds_below_one_are_refused_at_once(options):
    with pytest.raises(ValueError, match="at least 1"):
        ordered_map(str, [1], **options)
