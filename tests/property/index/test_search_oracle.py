"""Searches find what the plain-Python oracle finds, whatever the database, query and filter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.oracle import bits_of
from tests.property.index.databases import (
    SEEDS,
    TEXTURE_BITS,
    databases,
    hits_of,
    oracle_arguments,
    oracle_of,
    parameters,
    queries_for,
)

from slidekin_server.index import Admitted, CollectionIndex, GuidedParameters, snapshot
from slidekin_server.values import PatchCodes

Slides = list[tuple[int, PatchCodes]]

PER_FILTER = {
    "copied": {"_COPY_FACTOR": 10**6},
    "passed one by one": {"_COPY_FACTOR": 0, "_FEW_EXCLUDED": 10**6},
    "jumped over": {"_COPY_FACTOR": 0, "_FEW_EXCLUDED": 0},
}


@settings(deadline=None, max_examples=120)
@given(databases(), parameters(), SEEDS)
def test_the_guided_walk_equals_the_oracle(
    slides: Slides, parameters: GuidedParameters, seed: int
) -> None:
    index = CollectionIndex.build(TEXTURE_BITS, slides)
    index._check()
    oracle = oracle_of(slides)
    for key, texture in queries_for(slides, np.random.default_rng(seed)):
        bag = index.snapshot().guided(key, texture, parameters)
        expected = oracle.guided(key, bits_of(texture), **oracle_arguments(parameters))
        assert hits_of(bag) == expected


@settings(deadline=None, max_examples=80)
@given(
    slides=databases(),
    seed=SEEDS,
    limit=st.integers(1, 300),
    max_distance=st.one_of(st.none(), st.integers(0, TEXTURE_BITS)),
    per_slide=st.booleans(),
)
def test_the_exact_scan_equals_looking_at_every_patch(
    *, slides: Slides, seed: int, limit: int, max_distance: int | None, per_slide: bool
) -> None:
    index = CollectionIndex.build(TEXTURE_BITS, slides)
    oracle = oracle_of(slides)
    queries = queries_for(slides, np.random.default_rng(seed))
    textures = np.stack([texture for _, texture in queries])
    bags = index.snapshot().exact(
        textures, limit=limit, max_distance_bits=max_distance, best_per_slide=per_slide
    )
    for bag, texture in zip(bags, textures, strict=True):
        assert hits_of(bag) == oracle.exact(
            bits_of(texture), limit=limit, max_distance=max_distance, best_per_slide=per_slide
        )


@pytest.mark.parametrize("way", PER_FILTER)
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(slides=databases(), parameters=parameters(), seed=SEEDS, excluding=st.booleans())
def test_a_filter_equals_an_index_rebuilt_from_what_it_admits(
    *,
    way: str,
    slides: Slides,
    parameters: GuidedParameters,
    seed: int,
    excluding: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in PER_FILTER[way].items():
        monkeypatch.setattr(snapshot, name, value)
    rng = np.random.default_rng(seed)
    chosen = set(rng.permutation(45)[: rng.integers(0, 30)].tolist())
    admitted = Admitted.all_except(chosen) if excluding else Admitted.only(chosen)
    left = [slide for slide in slides if (slide[0] in chosen) != excluding]
    index = CollectionIndex.build(TEXTURE_BITS, slides).snapshot()
    rebuilt = CollectionIndex.build(TEXTURE_BITS, left).snapshot()
    assert index.admitted_slides(admitted) == rebuilt.slides
    assert index.admitted_patches(admitted) == rebuilt.patches
    for key, texture in queries_for(slides, rng):
        bag = index.guided(key, texture, parameters, admitted)
        assert hits_of(bag) == hits_of(rebuilt.guided(key, texture, parameters))
        for per_slide in (False, True):
            bags = [
                version.exact(texture[None], limit=9, admitted=choice, best_per_slide=per_slide)
                for version, choice in ((index, admitted), (rebuilt, None))
            ]
            assert hits_of(bags[0][0]) == hits_of(bags[1][0])
