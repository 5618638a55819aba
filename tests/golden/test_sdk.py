"""The profile `sish-2022` through the SDK, which must add nothing of its own to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.golden import databases
from tests.service_process import ServiceProcess

from slidekin import Client, Codes, GuidedParameters, SearchOptions, Slide, SlideFilter

MODEL = "ab" * 32


@pytest.mark.parametrize("name", ["small", "sparse"])
def test_bags_and_ranking_are_those_of_the_published_program(name: str, tmp_path: Path):
    golden = databases.load(name)
    names, guided = golden.names, golden.parameters
    names_of = {f"collections/golden/slides/{name}": name for name in names}
    codes = [Codes(own.keys, own.textures, own.xy) for _, own in golden.slides]
    with ServiceProcess(tmp_path).start() as service, Client(service.url) as client:
        client.create_collection(
            "golden", model_fingerprint=MODEL, texture_bits=1024, hamming_threshold_bits=128
        )
        for number, own in enumerate(codes):
            slide = Slide(
                f"collections/golden/slides/{names[number]}",
                patient_id=golden.patients[number],
                label=golden.labels[number] or "",
            )
            client.add_slide_codes(slide, own, model_fingerprint=MODEL)
        for query in golden.queries:
            options = SearchOptions(
                profile="sish-2022",
                filter=SlideFilter(exclude_patient_ids=(query["exclude_patient"],)),
                hamming_threshold_bits=guided.hamming_threshold_bits,
                guided=GuidedParameters(
                    seed_spacing=guided.C,
                    seeds_per_side=guided.T,
                    successor_steps=guided.successor_steps,
                    predecessor_steps=guided.predecessor_steps,
                ),
                max_hits_per_patch=15_000,
            )
            answer = client.search_codes(
                codes[names.index(query["slide"])],
                collection="golden",
                options=options,
                model_fingerprint=MODEL,
            )
            bags = [
                [
                    [hit.key, hit.hamming_distance_bits, names_of[hit.slide], hit.x_px, hit.y_px]
                    for hit in bag.hits
                ]
                for bag in sorted(answer.patch_hits, key=lambda bag: bag.query_patch_index)
            ]
            assert bags == query["hits"], query["slide"]
            wanted = query["ranking"].get("ranked", [])
            assert [found.slide.slide_id for found in answer.slides] == [
                entry["slide"] for entry in wanted
            ], query["slide"]
