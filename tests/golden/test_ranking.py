"""Rankings equal those of the published program, in every query."""

from __future__ import annotations

import pytest
from tests.golden.databases import NAMES, load

from slidekin_server.ranking import EmptiedBy, RankingMethod, SlideLabels, rank


@pytest.mark.parametrize("name", NAMES)
def test_label_weights_equal_the_published_programs(name: str) -> None:
    database = load(name)
    labels = SlideLabels.of(database.labels)
    assert dict(labels.weights) == pytest.approx(database.label_weights, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_rankings_equal_the_published_programs(name: str) -> None:
    database = load(name)
    labels = SlideLabels.of(database.labels)
    for query in database.queries:
        golden = query["ranking"]
        bags = [database.bag_of(hits) for hits in query["hits"]]
        ranking = rank(
            bags,
            labels,
            k=5,
            texture_bits=1024,
            method=RankingMethod.UNCERTAINTY,
            fall_back=False,
        )
        ranked = [
            {
                "slide": database.names[slide.slide],
                "hamming": slide.distance_bits,
                "label": slide.label,
                "entropy": pytest.approx(slide.entropy, abs=1e-12),
                "patch": slide.query_patch,
            }
            for slide in ranking.slides
        ]
        assert golden["ranked"] == ranked, query["slide"]
        if golden["status"] == "empty":
            assert ranking.emptied_by is EmptiedBy.NO_HITS
            continue
        entropies = {str(patch): entropy for patch, entropy in ranking.entropies.items()}
        assert entropies == pytest.approx(golden["entropy"], abs=1e-12), query["slide"]
        assert list(ranking.kept) == golden["kept"]
        assert list(ranking.removed) == golden["removed"]
        assert ranking.hamming_threshold_bits == pytest.approx(
            golden["hamming_threshold"], abs=1e-12
        )
