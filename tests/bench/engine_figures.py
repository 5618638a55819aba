"""Figures of the engine alone: build, memory, guided walk, threads, changes, place finding."""

# ruff: noqa: PLR0917 - compiled functions take columns one by one

from __future__ import annotations

import time
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from tests.bench.cohort import TEXTURE_BITS, Cohort
from tests.bench.first_touch import touch_ahead
from tests.bench.lines import say
from tests.bench.timing import each_ms, rss_bytes, spread, throughputs

from slidekin_server.index import CollectionIndex, GuidedParameters, VebTree, warm_up
from slidekin_server.index.blocks import listing
from slidekin_server.index.places import lower_bound
from slidekin_server.index.veb_nodes import successor

DEFAULT = GuidedParameters(include_seed_key=True)
"""The walk of the profile ``default``."""
_QUERY_SLIDES = 25
_ADDED_SLIDES = 200
_PROBES = 1_000_000
_TOUCHED_BYTES = 300
"""A patch: more than building takes at its peak."""


def measure(patches: int) -> None:
    """Measure an index of so many patches."""
    warm_up()
    cohort = Cohort(patches)
    queries = cohort.queries(_QUERY_SLIDES)
    touch_ahead(_TOUCHED_BYTES * patches)
    index = build(cohort)
    guided(index, queries.keys, queries.textures)
    online(index, cohort)
    places(index, queries.keys)


def build(cohort: Cohort) -> CollectionIndex:
    """Measure bulk building, fed slide by slide, and the memory it takes."""
    before = rss_bytes()
    drawn_s = cohort.drawing_s
    begin = time.perf_counter()
    index = CollectionIndex.build(TEXTURE_BITS, cohort.slides())
    taken_s = time.perf_counter() - begin - (cohort.drawing_s - drawn_s)
    peak, after = rss_bytes("VmHWM"), rss_bytes()
    patches = cohort.patches
    say("build", patches / taken_s, "patches/s", patches=patches, seconds=round(taken_s, 3))
    say(
        "memory",
        (after - before) / patches,
        "bytes/patch",
        patches=patches,
        rss_mib=after >> 20,
        peak_while_building=round((peak - before) / patches, 1),
    )
    return index


def guided(index: CollectionIndex, keys: NDArray[np.int64], textures: NDArray[np.uint8]) -> None:
    """Measure the guided walk, one patch at a time, by one thread and by two."""
    snapshot = index.snapshot()
    patches = snapshot.patches
    asked = [(key, texture, DEFAULT) for key, texture in zip(keys.tolist(), textures, strict=True)]
    hits = [len(snapshot.guided(*arguments)) for arguments in asked]
    taken = each_ms(snapshot.guided, asked)
    more = {"hits_median": int(np.median(hits)), **spread(taken)}
    say("guided", float(np.median(taken)), "ms", patches=patches, **more)
    for threads, rate in throughputs(snapshot.guided, asked, (1, 2)).items():
        say("guided throughput", rate, "patches/s", patches=patches, threads=threads)


def online(index: CollectionIndex, cohort: Cohort) -> None:
    """Measure adding and removing slides of 60 patches."""
    codes = cohort.queries(_ADDED_SLIDES, first=10_000)
    first = cohort.slide_count + 1
    numbers = range(first, first + _ADDED_SLIDES)
    slides: list[tuple[Any, ...]] = []
    for number in numbers:
        part = slice((number - first) * 60, (number - first + 1) * 60)
        slides.append((number, type(codes)(codes.keys[part], codes.textures[part], codes.xy[part])))
    patches = len(index)
    added = each_ms(index.add_slide, slides)
    say("add slide", float(np.median(added)), "ms", patches=patches, **spread(added))
    removed = each_ms(index.remove_slide, [(number,) for number in numbers])
    say("remove slide", float(np.median(removed)), "ms", patches=patches, **spread(removed))


def places(index: CollectionIndex, around: NDArray[np.int64]) -> None:
    """Measure three ways to find the place of a key: what a walk does before its first step."""
    snapshot = index.snapshot()
    patches = snapshot.patches
    directory, words = snapshot.directory, TEXTURE_BITS // 64
    columns = (directory.first_keys, directory.blocks, directory.counts, directory.bases)
    keys = np.unique(listing(directory.blocks, directory.counts, directory.bases, words)[0])
    rng = np.random.default_rng(2)
    # Keys that seeds would have: near the queries' own, a few seed distances away.
    probes = rng.choice(around, _PROBES) + rng.integers(-45, 46, _PROBES) * 10**12
    begin = time.perf_counter()
    tree = VebTree.build(keys)
    tree_s = time.perf_counter() - begin
    _probe_tree(*tree._columns, probes[:1])
    _probe_directory(*columns, words, probes[:1])
    _probe_array(keys, probes[:1])
    ways = {
        "van Emde Boas tree": (lambda: _probe_tree(*tree._columns, probes), tree.nbytes),
        "block directory": (
            lambda: _probe_directory(*columns, words, probes),
            sum(column.nbytes for column in columns),
        ),
        "sorted array": (lambda: _probe_array(keys, probes), keys.nbytes),
    }
    for name, (probe, nbytes) in ways.items():
        best_s = min(each_ms(probe, [()] * 3)) / 1e3
        say(
            "place",
            best_s / _PROBES * 1e9,
            "ns",
            patches=patches,
            engine=name,
            distinct_keys=len(keys),
            bytes_per_key=round(nbytes / len(keys), 2),
        )
    say("tree build", len(keys) / tree_s, "keys/s", patches=patches)


@numba.njit
def _probe_tree(nodes: Any, table: Any, state: Any, probes: Any) -> int:
    total = 0
    for probe in probes:
        if probe >= 0:
            found, key = successor(nodes, table, state, np.uint64(probe))
            total += np.int64(key) if found else 0
    return total


@numba.njit
def _probe_directory(
    first_keys: Any, blocks: Any, counts: Any, bases: Any, words: int, probes: Any
) -> int:
    total = 0
    for probe in probes:
        place, slot = lower_bound(first_keys, blocks, counts, bases, words, probe)
        total += place + slot
    return total


@numba.njit
def _probe_array(keys: Any, probes: Any) -> int:
    total = 0
    for probe in probes:
        total += np.searchsorted(keys, probe)
    return total
