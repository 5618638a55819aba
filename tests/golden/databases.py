"""The golden databases: what the published program was given, and what it answered."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from tests.paths import golden_dir

from slidekin_server.index import Admitted, GuidedParameters
from slidekin_server.values import Bag, PatchCodes, SearchMode

NAMES = ("small", "medium", "tight", "sparse")


@dataclass(frozen=True)
class GoldenDatabase:
    """One database with its queries, numbered by slide as in its file."""

    slides: list[tuple[int, PatchCodes]]
    names: list[str]
    patients: list[str]
    labels: dict[int, str | None]
    label_weights: dict[str, float]
    parameters: GuidedParameters
    queries: list[dict[str, Any]]

    def codes_of(self, query: dict[str, Any]) -> PatchCodes:
        """Return the patches of a query."""
        return self.slides[self.names.index(query["slide"])][1]

    def admitted(self, query: dict[str, Any]) -> Admitted:
        """Leave the query's patient out."""
        out = query["exclude_patient"]
        return Admitted.all_except(
            number for number, patient in enumerate(self.patients) if patient == out
        )

    def hits_of(self, bag: Bag) -> list[list[Any]]:
        """Write a bag as the golden files do: [key, distance, slide, x, y]."""
        return [
            [key, distance, self.names[slide], *self.slides[slide][1].xy[patch].tolist()]
            for key, distance, slide, patch in zip(
                bag.keys.tolist(),
                bag.distances.tolist(),
                bag.slides.tolist(),
                bag.patches.tolist(),
                strict=True,
            )
        ]

    def bag_of(self, hits: list[list[Any]]) -> Bag:
        """Read a bag from the golden files; patch indices are not kept there."""
        return Bag(
            keys=np.array([hit[0] for hit in hits], dtype=np.int64),
            distances=np.array([hit[1] for hit in hits], dtype=np.int32),
            slides=np.array([self.names.index(hit[2]) for hit in hits], dtype=np.int64),
            patches=np.zeros(len(hits), dtype=np.int32),
            mode=SearchMode.GUIDED,
        )


@cache
def load(name: str) -> GoldenDatabase:
    """Load a database, or skip the test where the golden files are not at hand."""
    folder = golden_dir()
    if folder is None:
        pytest.skip("no golden files: set SLIDEKIN_GOLDEN to their folder")
    columns = np.load(folder / f"{name}.npz")
    text = json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes()))
    slides = []
    for number in range(len(text["slides"])):
        own = columns["slide"] == number
        codes = PatchCodes(columns["key"][own], columns["texture"][own], columns["xy"][own])
        slides.append((number, codes))
    parameters = text["params"]
    return GoldenDatabase(
        slides=slides,
        names=[slide["slide"] for slide in text["slides"]],
        patients=[slide["patient"] for slide in text["slides"]],
        labels={number: slide["label"] for number, slide in enumerate(text["slides"])},
        label_weights=text["label_weight"],
        parameters=GuidedParameters(
            C=parameters["C"],
            T=parameters["T"],
            successor_steps=parameters["succ_step"],
            predecessor_steps=parameters["pre_step"],
            hamming_threshold_bits=parameters["thrsh"],
        ),
        queries=text["queries"],
    )
