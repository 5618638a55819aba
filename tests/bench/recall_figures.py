"""How much the guided walk misses: its share of the true nearest textures, beside HNSW's."""

from __future__ import annotations

import time

import faiss
import numpy as np
from numpy.typing import NDArray
from tests.bench.cohort import TEXTURE_BITS, Cohort
from tests.bench.engine_figures import DEFAULT
from tests.bench.lines import say
from tests.bench.rivals import faiss_hnsw
from tests.bench.timing import each_ms

from slidekin_server.index import CollectionIndex, GuidedParameters, IndexSnapshot, warm_up
from slidekin_server.values import PatchCodes

HNSW_MOST_PATCHES = 1_000_000
"""Beyond this building the graph on two cores takes longer than all the rest together."""
NEAREST = 10
STEPS = (25, 100, 375, 1500, 6000)
"""Steps of the walk to either side; 375 is the default."""
BREADTHS = (16, 64, 256, 1024)
"""efSearch of HNSW."""


def measure(patches: int) -> None:
    """Measure recall on a cohort of so many patches."""
    warm_up()
    cohort = Cohort(patches)
    snapshot = CollectionIndex.build(TEXTURE_BITS, cohort.slides()).snapshot()
    queries = cohort.queries(20, first=1000)
    # Every sixth patch: 200 of 20 slides.
    keys, textures = queries.keys[::6], np.ascontiguousarray(queries.textures[::6])
    threshold = DEFAULT.hamming_threshold_bits
    begin = time.perf_counter()
    truth = [
        bag.distances
        for bag in snapshot.exact(textures, limit=NEAREST, max_distance_bits=threshold, threads=2)
    ]
    exact_ms = (time.perf_counter() - begin) / len(textures) * 1e3
    more = {"nearest": NEAREST, "queries": len(textures), "within_bits": threshold}
    say(
        "recall", 1.0, "share", patches=patches, threads=2, engine="exact",
        ms_per_patch=round(exact_ms, 4), **more,
    )  # fmt: skip
    guided(snapshot, PatchCodes(keys, textures, queries.xy[::6]), truth, more)
    if patches > HNSW_MOST_PATCHES:
        say(
            "hnsw not built", HNSW_MOST_PATCHES, "patches at most", patches=patches,
            engine="faiss IndexBinaryHNSW",
        )  # fmt: skip
        return
    hnsw(cohort, textures, truth, more)


def guided(
    snapshot: IndexSnapshot,
    queries: PatchCodes,
    truth: list[NDArray[np.int32]],
    more: dict[str, int],
) -> None:
    """Measure the guided walk with more and fewer steps."""
    for steps in STEPS:
        parameters = GuidedParameters(
            successor_steps=steps, predecessor_steps=steps, include_seed_key=True
        )
        asked = [
            (key, texture, parameters)
            for key, texture in zip(queries.keys.tolist(), queries.textures, strict=True)
        ]
        found = [snapshot.guided(*arguments).distances for arguments in asked]
        say(
            "recall",
            share_found(truth, found),
            "share",
            patches=snapshot.patches,
            engine="guided",
            steps=steps,
            ms_per_patch=float(f"{np.mean(each_ms(snapshot.guided, asked)):.4g}"),
            any_hit=round(np.mean([len(hits) > 0 for hits in found]), 3),
            **more,
        )


def hnsw(
    cohort: Cohort,
    textures: NDArray[np.uint8],
    truth: list[NDArray[np.int32]],
    more: dict[str, int],
) -> None:
    """Measure HNSW of more and less breadth."""
    faiss.omp_set_num_threads(2)
    drawn_s = cohort.drawing_s
    begin = time.perf_counter()
    index = faiss_hnsw(cohort)
    build_s = time.perf_counter() - begin - (cohort.drawing_s - drawn_s)
    engine = "faiss IndexBinaryHNSW"
    say(
        "hnsw build", cohort.patches / build_s, "patches/s", patches=cohort.patches, threads=2,
        engine=engine, seconds=round(build_s, 1),
    )  # fmt: skip
    faiss.omp_set_num_threads(1)
    for breadth in BREADTHS:
        index.hnsw.efSearch = breadth
        found = list(index.search(textures, NEAREST)[0])
        asked = [(texture[np.newaxis], NEAREST) for texture in textures]
        say(
            "recall",
            share_found(truth, found),
            "share",
            patches=cohort.patches,
            engine=engine,
            breadth=breadth,
            ms_per_patch=float(f"{np.mean(each_ms(index.search, asked)):.4g}"),
            **more,
        )


def share_found(truth: list[NDArray[np.int32]], found: list[NDArray[np.int32]]) -> float:
    """Return the share of the nearest textures that were found, as a mean over queries.

    By distance: of equally distant textures any will do. Queries with nothing near do not count.
    """
    shares = [
        min(np.count_nonzero(hits <= nearest[-1]), len(nearest)) / len(nearest)
        for nearest, hits in zip(truth, found, strict=True)
        if len(nearest)
    ]
    return float(np.mean(shares))
