"""An index that slides come to and go from equals one that is built from what is left."""

from __future__ import annotations

import threading

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.index.databases import (
    SEEDS,
    SHAPES,
    TEXTURE_BITS,
    KeyShape,
    hits_of,
    make_slide,
    queries_for,
)

from slidekin_server.index import CollectionIndex, GuidedParameters, IndexSnapshot
from slidekin_server.index.blocks import listing
from slidekin_server.values import Bag, PatchCodes


def _patches(snapshot: IndexSnapshot) -> list[list[int]]:
    directory = snapshot.directory
    columns = listing(directory.blocks, directory.counts, directory.bases, TEXTURE_BITS // 64)
    return [column.tolist() for column in columns[:3]]


@settings(deadline=None, max_examples=80)
@given(SEEDS, SHAPES, st.sampled_from([1, 20, 150, 700]), st.integers(1, 60))
def test_changes_equal_a_rebuild(seed: int, shape: KeyShape, most: int, changes: int) -> None:
    rng = np.random.default_rng(seed)
    index = CollectionIndex(TEXTURE_BITS)
    model: dict[int, PatchCodes] = {}
    unused = rng.permutation(200).tolist()
    for change in range(1, changes + 1):
        kind = rng.choice(["add", "add", "remove", "replace"]) if model else "add"
        old = int(rng.choice(list(model))) if model else -1
        number = unused.pop()
        codes = make_slide(rng, shape, int(rng.integers(0, most + 1)))
        if kind == "add":
            index.add_slide(number, codes)
        elif kind == "remove":
            index.remove_slide(old)
        else:
            index.replace_slide(old, number, codes)
        if kind != "add":
            del model[old]
        if kind != "remove":
            model[number] = codes
        assert index.version == change
    index._check()
    rebuilt = CollectionIndex.build(TEXTURE_BITS, model.items())
    assert _patches(index.snapshot()) == _patches(rebuilt.snapshot())
    assert index.snapshot().slides == len(model)
    for key, texture in queries_for(list(model.items()), rng):
        bags = [
            version.guided(key, texture, GuidedParameters(hamming_threshold_bits=40))
            for version in (index.snapshot(), rebuilt.snapshot())
        ]
        assert hits_of(bags[0]) == hits_of(bags[1])


@settings(deadline=None, max_examples=15)
@given(SEEDS, SHAPES)
def test_blocks_stay_two_thirds_full_while_slides_come(seed: int, shape: KeyShape) -> None:
    rng = np.random.default_rng(seed)
    index = CollectionIndex(TEXTURE_BITS)
    for number in range(60):
        index.add_slide(number, make_slide(rng, shape, 60))
    index._check()
    assert index.snapshot().directory.counts.mean() > 128 * 0.6


def test_a_search_that_takes_long_keeps_its_own_blocks_and_no_others() -> None:
    rng = np.random.default_rng(4)
    shape = KeyShape("sparse")
    index = CollectionIndex(TEXTURE_BITS)
    for number in range(100):
        index.add_slide(number, make_slide(rng, shape, 60))
    held = index.snapshot()
    before = _patches(held)
    for number in range(100, 1100):
        index.replace_slide(number - 100, number, make_slide(rng, shape, 60))
        both = {*held.directory.blocks.tolist(), *index.snapshot().directory.blocks.tolist()}
        assert index._arena.used_blocks == len(both)
        assert len(index._keys_of_slide) <= 200
    assert _patches(held) == before
    index._check()
    del held
    index.add_slide(1100, make_slide(rng, shape, 1))
    index._check()
    assert index._arena.used_blocks == len(index.snapshot().directory.blocks)
    assert set(index._keys_of_slide) == set(range(1000, 1101))
    for number in range(1000, 1101):
        index.remove_slide(number)
    index._check()
    assert len(index) == 0
    assert index._arena.used_blocks == 0


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.booleans())
def test_what_is_kept_is_what_versions_have_that_are_read(seed: int, built: bool) -> None:  # noqa: FBT001
    rng = np.random.default_rng(seed)
    slides = [(number, make_slide(rng, KeyShape("sparse"), 40)) for number in range(30)]
    if built:
        index = CollectionIndex.build(TEXTURE_BITS, slides)
    else:
        index = CollectionIndex(TEXTURE_BITS)
        for number, codes in slides:
            index.add_slide(number, codes)
    alive = list(range(30))
    read: dict[int, tuple[IndexSnapshot, list[list[int]]]] = {}
    for number in range(30, 90):
        while read and rng.random() < 0.4:
            read.pop(int(rng.choice(list(read))))
        if rng.random() < 0.5:
            read[index.version] = (index.snapshot(), _patches(index.snapshot()))
        codes = make_slide(rng, KeyShape("sparse"), int(rng.integers(0, 80)))
        kind = rng.choice(["add", "remove", "replace"]) if alive else "add"
        old = alive.pop(int(rng.integers(len(alive)))) if kind != "add" else -1
        if kind == "add":
            index.add_slide(number, codes)
        elif kind == "remove":
            index.remove_slide(old)
        else:
            index.replace_slide(old, number, codes)
        if kind != "remove":
            alive.append(number)
        versions = [index.snapshot(), *(snapshot for snapshot, _ in read.values())]
        has = {block for version in versions for block in version.directory.blocks.tolist()}
        assert index._arena.used_blocks == len(has)
        owners = {slide for version in versions for slide in version.slide_numbers().tolist()}
        assert set(index._keys_of_slide) == owners
        del versions
    index._check()
    for snapshot, patches in read.values():
        assert _patches(snapshot) == patches


class _Reader(threading.Thread):
    """Searches version after version, and notes what each of them answered."""

    def __init__(self, index: CollectionIndex, queries: list, finished: threading.Event) -> None:
        super().__init__()
        self.index = index
        self.queries = queries
        self.finished = finished
        self.answers: list[tuple[int, list[Bag]]] = []
        self.held: list[IndexSnapshot] = []

    def run(self) -> None:
        while not self.finished.is_set() or not self.answers:
            snapshot = self.index.snapshot()
            if len(self.held) < 5 and len(self.answers) % 7 == 0:
                self.held.append(snapshot)
            self.answers.append((snapshot.version, ask(snapshot, self.queries)))


def ask(snapshot: IndexSnapshot, queries: list) -> list[Bag]:
    """Search all queries in both ways."""
    bags = [
        snapshot.guided(key, texture, GuidedParameters(hamming_threshold_bits=40))
        for key, texture in queries
    ]
    textures = np.stack([texture for _, texture in queries])
    return bags + snapshot.exact(textures, limit=20)


def test_each_search_sees_one_version_while_slides_come_and_go() -> None:  # noqa: C901
    rng = np.random.default_rng(11)
    shape = KeyShape("clustered")
    slides = {number: make_slide(rng, shape, 60) for number in range(260)}
    index = CollectionIndex.build(TEXTURE_BITS, list(slides.items())[:60])
    queries = queries_for(list(slides.items()), rng)
    finished = threading.Event()
    readers = [_Reader(index, queries, finished) for _ in range(4)]
    for reader in readers:
        reader.start()
    contents = {1: set(range(60))}
    try:
        for number in range(60, 260):
            now = contents[index.version]
            if number % 3 == 0:
                index.add_slide(number, slides[number])
                contents[index.version] = now | {number}
            elif number % 3 == 1:
                index.remove_slide(min(now))
                contents[index.version] = now - {min(now)}
            else:
                old = max(now)
                index.replace_slide(old, number, slides[number])
                contents[index.version] = now - {old} | {number}
    finally:
        finished.set()
        for reader in readers:
            reader.join()
    index._check()

    expected: dict[int, list] = {}

    def assert_right(version: int, bags: list[Bag]) -> None:
        if version not in expected:
            rebuilt = CollectionIndex.build(
                TEXTURE_BITS, [(number, slides[number]) for number in contents[version]]
            )
            expected[version] = [hits_of(bag) for bag in ask(rebuilt.snapshot(), queries)]
        assert [hits_of(bag) for bag in bags] == expected[version], f"version {version}"

    for reader in readers:
        for version, bags in reader.answers:
            assert_right(version, bags)
        for snapshot in reader.held:
            assert_right(snapshot.version, ask(snapshot, queries))
