from __future__ import annotations

import dataclasses
import json

from tests.unit.report.results import RESULT, with_random_weights

from slidekin import RankingDetails
from slidekin.report import to_geojson, to_json


def test_json_holds_ranking_evidence_hits_and_facts():
    answer = json.loads(json.dumps(to_json(RESULT)))
    first, second = answer["slides"]
    assert (first["rank"], first["slide_id"], first["patient_id"]) == (1, "found-1", "patient-1")
    assert first["label"] == "carcinoma"
    assert first["evidence"][1]["hit"]["patch_index"] == 5
    assert first["evidence"][1]["query_x_px"] == 1024
    assert second["evidence"] == []
    assert answer["query"]["patches"][2] == {"x_px": 4096, "y_px": 0}
    assert answer["patch_hits"][0]["hit_count"] == 12
    assert answer["options"]["filter"]["exclude_patient_ids"] == ["patient-0"]
    assert answer["short_reasons"] == ["no-hits"]
    assert answer["ranking_details"] is None
    assert answer["random_weights"] is False
    assert to_json(with_random_weights())["random_weights"] is True


def test_json_holds_how_the_ranking_came_about():
    details = RankingDetails({0: 0.5, 2: 1.0}, (2, 0), (0,), 41.5, {"carcinoma": 10.0})
    answer = json.loads(json.dumps(to_json(dataclasses.replace(RESULT, details=details))))
    assert answer["ranking_details"]["entropies"] == {"0": 0.5, "2": 1.0}
    assert answer["ranking_details"]["kept"] == [2, 0]


def test_geojson_is_made_of_closed_squares_in_level_0_pixels():
    collection = json.loads(json.dumps(to_geojson(RESULT)))
    assert collection["type"] == "FeatureCollection"
    assert len({feature["id"] for feature in collection["features"]}) == 5
    for feature in collection["features"]:
        (ring,) = feature["geometry"]["coordinates"]
        assert feature["geometry"]["type"] == "Polygon"
        assert ring[0] == ring[-1]
        assert len(ring) == 5
        assert (ring[2][0] - ring[0][0], ring[2][1] - ring[0][1]) == (1024, 1024)


def test_geojson_tells_query_patches_from_matches_and_links_them():
    features = to_geojson(RESULT)["features"]
    query = [
        feature["properties"] for feature in features if feature["properties"]["role"] == "query"
    ]
    match = [
        feature["properties"] for feature in features if feature["properties"]["role"] == "match"
    ]
    assert [properties["patch_index"] for properties in query] == [0, 1, 2]
    assert query[0]["matches"][0]["slide"] == "collections/c/slides/found-1"
    assert query[2]["matches"] == []
    assert [(m["slide"], m["patch_index"], m["query_patch_index"]) for m in match] == [
        ("collections/c/slides/found-1", 3, 0),
        ("collections/c/slides/found-1", 5, 1),
    ]


def test_geojson_names_and_colours_annotations_as_qupath_does():
    properties = to_geojson(RESULT)["features"][0]["properties"]
    assert properties["objectType"] == "annotation"
    assert properties["classification"]["name"] == "Query patch"
    assert len(properties["classification"]["color"]) == 3
