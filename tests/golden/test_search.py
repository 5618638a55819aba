"""Bags equal those of the published program, in every query."""

from __future__ import annotations

import pytest
from tests.golden.databases import NAMES, GoldenDatabase, load

from slidekin_server.index import CollectionIndex, IndexSnapshot


def _assert_bags_equal(database: GoldenDatabase, snapshot: IndexSnapshot) -> None:
    for query in database.queries:
        codes = database.codes_of(query)
        admitted = database.admitted(query)
        bags = [
            snapshot.guided(key, texture, database.parameters, admitted)
            for key, texture in zip(codes.keys.tolist(), codes.textures, strict=True)
        ]
        assert [database.hits_of(bag) for bag in bags] == query["hits"], query["slide"]


@pytest.mark.parametrize("name", NAMES)
def test_bags_equal_the_published_programs(name: str) -> None:
    database = load(name)
    index = CollectionIndex.build(1024, database.slides)
    _assert_bags_equal(database, index.snapshot())


@pytest.mark.parametrize("name", NAMES)
def test_bags_are_equal_after_adding_slides_one_by_one_backwards(name: str) -> None:
    database = load(name)
    index = CollectionIndex(1024)
    for number, codes in reversed(database.slides):
        index.add_slide(number, codes)
    _assert_bags_equal(database, index.snapshot())
