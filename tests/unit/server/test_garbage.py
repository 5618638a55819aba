"""Circles that calls leave behind go before long, however much was loaded."""

from __future__ import annotations

import gc

import pytest

from slidekin_server import app


def _full_collections(circles: int) -> int:
    """Return how often all garbage is collected while so many circles are made."""
    before = gc.get_stats()[2]["collections"]
    for _ in range(circles):
        circle: list[object] = []
        circle.append(circle)
    return int(gc.get_stats()[2]["collections"]) - before


@pytest.mark.parametrize("often", [False, True])
def test_garbage_is_collected_soon_beside_much_that_was_loaded(*, often: bool) -> None:
    loaded: list[list[int]] = [[] for _ in range(1_000_000)]
    gc.collect()
    try:
        if often:
            app._collect_garbage_often()
        # Python by itself waits until a quarter of what was loaded has come on top of it.
        assert (_full_collections(400_000) > 0) is often
    finally:
        gc.unfreeze()
    assert loaded
