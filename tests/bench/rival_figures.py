"""The engine and its rivals side by side on the same cohort: guided walk and exact scan."""

from __future__ import annotations

import time
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from tests.bench.cohort import SLIDE_PATCHES, TEXTURE_BITS, Cohort
from tests.bench.engine_figures import DEFAULT
from tests.bench.lines import say
from tests.bench.rivals import NumpyIndex, Rows, faiss_flat, oracle_of
from tests.bench.scattered import line_ns
from tests.bench.timing import best_ms, each_ms, spread
from tests.oracle import bits_of

from slidekin_server.index import CollectionIndex, IndexSnapshot, warm_up
from slidekin_server.index.memory import leading_words
from slidekin_server.values import Bag, PatchCodes

ORACLE_MOST_PATCHES = 1_000_000
"""Ten million patches as Python objects would need more than 5 GiB."""
_LIMIT = 100
_READ_BYTES = 8 * leading_words(TEXTURE_BITS // 64, DEFAULT.hamming_threshold_bits)
"""What the guided walk reads of every patch; of most it reads no more."""
_PATCH_BYTES = TEXTURE_BITS // 8 + 16
"""What the index holds of every patch."""
_AGAIN, _EVERY = 30, 10
"""Times that a query is repeated, of every tenth."""
_ORACLE_QUERIES = 40
_ORACLE_ROUNDS = 7
"""Times the engine goes over the oracle's queries: together they read more than the caches hold."""


def measure(patches: int) -> None:
    """Measure all on a cohort of so many patches."""
    warm_up()
    cohort = Cohort(patches)
    snapshot = CollectionIndex.build(TEXTURE_BITS, cohort.slides()).snapshot()
    queries = cohort.queries(5)
    guided(cohort, snapshot, queries)
    exact(cohort, snapshot, queries.textures[:SLIDE_PATCHES])


def guided(cohort: Cohort, snapshot: IndexSnapshot, queries: PatchCodes) -> None:
    """Measure the guided walk of the engine, of numpy and of the oracle, results compared."""
    asked = list(zip(queries.keys.tolist(), queries.textures, [DEFAULT] * 300, strict=True))
    rows = [rows_of(snapshot.guided(*arguments)) for arguments in asked]
    own = each_ms(snapshot.guided, asked)
    say_guided("slidekin", own, cohort.patches)
    # What is left of a walk where memory costs nothing: each query again and again.
    again = [np.median(each_ms(snapshot.guided, [one] * _AGAIN)) for one in asked[::_EVERY]]
    say("guided from the cache", float(np.median(again)), "ms", patches=cohort.patches)

    sorted_arrays = NumpyIndex(cohort)
    assert [sorted_arrays.guided(*arguments) for arguments in asked] == rows
    looked_at = sorted_arrays.looked_at / len(asked)
    say(
        "guided looks at",
        looked_at,
        "patches",
        patches=cohort.patches,
        read_gb_per_s=round(looked_at * _READ_BYTES / np.mean(own) / 1e6, 2),
        scattered_line_ns=round(line_ns(_PATCH_BYTES * cohort.patches), 1),
    )
    say_guided("numpy searchsorted", each_ms(sorted_arrays.guided, asked), cohort.patches)
    del sorted_arrays
    if cohort.patches > ORACLE_MOST_PATCHES:
        return

    oracle = oracle_of(cohort)
    found: list[Rows] = []

    def ask(key: int, texture: int) -> None:
        hits = oracle.guided(
            key,
            texture,
            c=DEFAULT.C,
            t=DEFAULT.T,
            successor_steps=DEFAULT.successor_steps,
            predecessor_steps=DEFAULT.predecessor_steps,
            threshold=DEFAULT.hamming_threshold_bits,
            include_seed_key=DEFAULT.include_seed_key,
        )
        found.append([(hit.key, hit.distance, hit.slide, hit.patch) for hit in hits])

    few = slice(None, None, len(asked) // _ORACLE_QUERIES)
    taken = each_ms(ask, [(key, bits_of(texture)) for key, texture, _ in asked[few]])
    assert found == rows[few]
    say_guided("oracle", taken, cohort.patches)
    # The same queries by the engine: the ratio is of like with like.
    own = each_ms(snapshot.guided, asked[few] * _ORACLE_ROUNDS)
    ratio = float(np.median(taken) / np.median(own))
    say("guided against oracle", ratio, "times", patches=cohort.patches)


def say_guided(engine: str, taken: list[float], patches: int) -> None:
    more = {} if engine == "slidekin" else {"equal": True}
    say(
        "guided beside rivals",
        float(np.median(taken)),
        "ms",
        patches=patches,
        engine=engine,
        **more,
        **spread(taken),
    )


def exact(cohort: Cohort, snapshot: IndexSnapshot, textures: NDArray[np.uint8]) -> None:
    """Measure the scan of a slide's patches by the engine and by faiss, results compared."""
    begin = time.perf_counter()
    flat = faiss_flat(cohort)
    more = {"queries": len(textures), "limit": _LIMIT}
    say(
        "flat build",
        cohort.patches / (time.perf_counter() - begin),
        "patches/s",
        patches=cohort.patches,
        engine="faiss IndexBinaryFlat",
    )
    bags = snapshot.exact(textures, limit=_LIMIT)
    for threads in (1, 2):
        own = best_ms(lambda: snapshot.exact(textures, limit=_LIMIT, threads=threads))  # noqa: B023
        say("exact", own, "ms", patches=cohort.patches, threads=threads, **more)
        faiss.omp_set_num_threads(threads)
        ways = {}
        # Its two ways to keep the nearest; what counts is the faster one.
        for use_heap in (True, False):
            flat.use_heap = use_heap
            assert_same(bags, flat.search(textures, _LIMIT)[0])
            ways[use_heap] = best_ms(lambda: flat.search(textures, _LIMIT))
        theirs = min(ways.values())
        say(
            "exact",
            theirs,
            "ms",
            patches=cohort.patches,
            threads=threads,
            engine="faiss IndexBinaryFlat",
            equal=True,
            heap_ms=round(ways[True], 2),
            counting_ms=round(ways[False], 2),
            **more,
        )
        say(
            "exact against faiss",
            theirs / own,
            "times",
            patches=cohort.patches,
            threads=threads,
            **more,
        )
    one = textures[:1]
    per_slide = best_ms(lambda: snapshot.exact(textures, limit=_LIMIT, best_per_slide=True))
    say("exact, best of each slide", per_slide, "ms", patches=cohort.patches, **more)
    faiss.omp_set_num_threads(1)
    single: dict[str, Any] = {
        "slidekin": lambda: snapshot.exact(one, limit=_LIMIT),
        "faiss IndexBinaryFlat": lambda: flat.search(one, _LIMIT),
    }
    for engine, scan in single.items():
        taken = best_ms(scan, repeats=7)
        # The engine reads the less, the nearer the patches are that it has already; faiss all.
        read = {"read_gb_per_s": round(cohort.patches * TEXTURE_BITS / 8 / taken / 1e6, 2)}
        say(
            "exact, one patch",
            taken,
            "ms",
            patches=cohort.patches,
            engine=engine,
            **(read if engine != "slidekin" else {}),
        )


def assert_same(bags: list[Bag], distances: NDArray[np.int32]) -> None:
    """Assert that two scans found the same distances (of equal ones, faiss may keep others)."""
    for bag, row in zip(bags, distances, strict=True):
        assert np.array_equal(bag.distances, np.sort(row))


def rows_of(bag: Bag) -> Rows:
    columns = (bag.keys, bag.distances, bag.slides, bag.patches)
    return list(zip(*(column.tolist() for column in columns), strict=True))
