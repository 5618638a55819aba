"""Run a folder of golden files through a real service: ``python -m tests.golden_run DIR``.

Each database (NAME.npz and NAME.json.gz) becomes a collection, its slides are added as codes, and
each of its queries is asked over gRPC with the profile ``sish-2022``. Bags and rankings must be
those of the published program: integers equal, floating-point results to 1e-12. ``keys.npz`` is
compared with the service's key function.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from slidekin.v1 import (
    collections_pb2,
    collections_pb2_grpc,
    common_pb2,
    search_pb2,
    search_pb2_grpc,
    slides_pb2,
    slides_pb2_grpc,
)
from slidekin_server.codes import keys_from_codes
from tests.service_process import ServiceProcess

_FINGERPRINT = "published-program"
_PATCHES_PER_MESSAGE = 256
_MOST_HITS = 15_000
_TOLERANCE = 1e-12
_SHOWN = 5


@dataclass(frozen=True)
class Outcome:
    """What became of one golden file."""

    name: str
    kind: str
    """``queries`` or ``keys``."""
    equal: int
    total: int
    differences: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether everything was equal, and there was something."""
        return self.equal == self.total > 0

    def __str__(self) -> str:
        return f"golden {self.name}: {self.equal} of {self.total} {self.kind} equal"


def run(folder: Path) -> Iterator[Outcome]:
    """Run every golden file of a folder, each as soon as it is asked for."""
    databases = sorted(
        path.name.removesuffix(".json.gz")
        for path in folder.glob("*.json.gz")
        if path.with_name(path.name.removesuffix(".json.gz") + ".npz").is_file()
    )
    keys = folder / "keys.npz"
    if keys.is_file():
        yield _run_keys(keys)
    if not databases:
        return
    with (
        tempfile.TemporaryDirectory(prefix="slidekin-golden-") as scratch,
        ServiceProcess(Path(scratch)) as service,
        service.channel() as channel,
    ):
        for name in databases:
            yield _Database(folder, name, channel).run()


def _run_keys(file: Path) -> Outcome:
    with np.load(file, allow_pickle=False) as golden:
        keys = keys_from_codes(golden["codes"], golden["semantic_order"])
        equal = keys == golden["key"]
    return Outcome("keys", "keys", int(equal.sum()), len(equal))


class _Database:
    """One golden database and the service it is asked of."""

    def __init__(self, folder: Path, name: str, channel: grpc.Channel) -> None:
        with np.load(folder / f"{name}.npz", allow_pickle=False) as columns:
            self._columns = {column: columns[column] for column in columns.files}
        text = json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes()))
        self._name = name
        self._parent = f"collections/golden-{name}"
        self._slides: list[dict[str, Any]] = text["slides"]
        self._queries: list[dict[str, Any]] = text["queries"]
        self._params: dict[str, int] = text["params"]
        self._weight_sum = round(math.fsum(text["label_weight"].values()), 6)
        self._label_weights: dict[str, float] = text["label_weight"]
        self._collections = collections_pb2_grpc.CollectionServiceStub(channel)
        self._slide_service = slides_pb2_grpc.SlideServiceStub(channel)
        self._search = search_pb2_grpc.SearchServiceStub(channel)

    def run(self) -> Outcome:
        """Add the slides and ask the queries."""
        self._collections.CreateCollection(
            collections_pb2.CreateCollectionRequest(
                collection=collections_pb2.Collection(
                    name=self._parent,
                    model_fingerprint=_FINGERPRINT,
                    texture_bits=self._columns["texture"].shape[1] * 8,
                    hamming_threshold_bits=self._params["thrsh"],
                )
            )
        )
        for number in self._numbers_in_order():
            self._slide_service.AddSlide(iter(self._additions(number)))
        differences = []
        for query in self._queries:
            difference = self._ask(query)
            if difference:
                differences.append(f"{query['slide']}: {difference}")
        total = len(self._queries)
        return Outcome(self._name, "queries", total - len(differences), total, tuple(differences))

    def _numbers_in_order(self) -> list[int]:
        """Slides in order of their first patch: a slide is added as a whole."""
        numbers, first = np.unique(self._columns["slide"], return_index=True)
        return [int(number) for number in numbers[np.argsort(first)]]

    def _batches(self, number: int) -> Iterator[common_pb2.PatchBatch]:
        rows = np.flatnonzero(self._columns["slide"] == number)
        for start in range(0, len(rows), _PATCHES_PER_MESSAGE):
            batch = common_pb2.PatchBatch()
            for row in rows[start : start + _PATCHES_PER_MESSAGE]:
                x_px, y_px = self._columns["xy"][row].tolist()
                batch.patches.add(
                    x_px=x_px,
                    y_px=y_px,
                    code=common_pb2.Code(
                        key=int(self._columns["key"][row]),
                        texture=self._columns["texture"][row].tobytes(),
                    ),
                )
            yield batch

    def _additions(self, number: int) -> Iterator[slides_pb2.AddSlideRequest]:
        facts = self._slides[number]
        slide = slides_pb2.Slide(
            name=f"{self._parent}/slides/{facts['slide']}",
            patient_id=facts["patient"] or "",
            label=facts["label"] or "",
        )
        header = slides_pb2.AddSlideHeader(slide=slide, model_fingerprint=_FINGERPRINT)
        yield slides_pb2.AddSlideRequest(header=header)
        for batch in self._batches(number):
            yield slides_pb2.AddSlideRequest(patches=batch)
        end = slides_pb2.AddSlideEnd(patch_count=int(np.sum(self._columns["slide"] == number)))
        yield slides_pb2.AddSlideRequest(end=end)

    def _questions(self, query: dict[str, Any]) -> Iterator[search_pb2.SearchSlideRequest]:
        excluded = query["exclude_patient"]
        options = search_pb2.SearchOptions(
            # SISH lists ten slides where anatomic sites are searched: there the weights sum to 30.
            k=10 if self._weight_sum > 20 else 5,
            profile="sish-2022",
            filter=common_pb2.SlideFilter(exclude_patient_ids=[excluded] if excluded else []),
            hamming_threshold_bits=self._params["thrsh"],
            guided=search_pb2.GuidedParameters(
                seed_spacing=self._params["C"],
                seeds_per_side=self._params["T"],
                successor_steps=self._params["succ_step"],
                predecessor_steps=self._params["pre_step"],
            ),
            label_weight_sum=self._weight_sum,
            max_hits_per_patch=_MOST_HITS,
            include_ranking_details=True,
        )
        header = search_pb2.SearchSlideHeader(
            parent=self._parent, options=options, model_fingerprint=_FINGERPRINT
        )
        yield search_pb2.SearchSlideRequest(header=header)
        number = next(
            place for place, facts in enumerate(self._slides) if facts["slide"] == query["slide"]
        )
        for batch in self._batches(number):
            yield search_pb2.SearchSlideRequest(patches=batch)

    def _ask(self, query: dict[str, Any]) -> str:
        """Return what differs from the published answer; empty where nothing does."""
        bags: dict[int, list[list[Any]]] = {}
        ranked = None
        for answer in self._search.SearchSlide(iter(list(self._questions(query)))):
            if answer.WhichOneof("payload") == "ranked_slides":
                ranked = answer.ranked_slides
            else:
                hits = answer.patch_hits
                bags[hits.query_patch_index] = [
                    [hit.key, hit.hamming_distance_bits, _id(hit.slide), hit.x_px, hit.y_px]
                    for hit in hits.hits
                ]
        if ranked is None:
            return "no ranking came back"
        if sorted(bags) != list(range(len(query["hits"]))):
            return f"{len(bags)} bags came back, {len(query['hits'])} are right"
        for patch, expected in enumerate(query["hits"]):
            if bags[patch] != [list(hit) for hit in expected]:
                return f"the bag of patch {patch} differs"
        if not _close(dict(ranked.details.label_weights), self._label_weights):
            return "the label weights differ"
        return _compare_ranking(ranked, query["ranking"])


def _compare_ranking(ranked: search_pb2.RankedSlides, expected: dict[str, Any]) -> str:
    details = ranked.details
    if expected["status"] == "reference_raises":
        # The published program gives no answer here; ours must give a reason.
        return "" if ranked.slides or ranked.short_reasons else "no slides and no reason"
    slides = [
        (_id(one.slide.name), one.hamming_distance_bits, one.slide.label, one.query_patch_index)
        for one in ranked.slides
    ]
    if slides != [
        (slide["slide"], slide["hamming"], slide["label"], slide["patch"])
        for slide in expected["ranked"]
    ]:
        return "the ranked slides differ"
    for slide, right in zip(ranked.slides, expected["ranked"], strict=True):
        if not _near(slide.entropy, right["entropy"]):
            return f"the entropy of {right['slide']} differs"
    if expected["status"] == "empty":
        return "" if ranked.short_reasons else "no slides and no reason"
    entropies = {str(patch): entropy for patch, entropy in details.entropies.items()}
    for name, ours, right in (
        ("entropies", _close(entropies, expected["entropy"]), True),
        ("kept bags", list(details.kept), expected["kept"]),
        ("removed bags", list(details.removed), expected["removed"]),
        ("threshold", _near(details.hamming_threshold, expected["hamming_threshold"]), True),
    ):
        if ours != right:
            return f"the {name} of the ranking differ"
    return ""


def _id(slide_name: str) -> str:
    return slide_name.split("/", maxsplit=3)[3]


def _near(ours: float, right: float) -> bool:
    return math.isclose(ours, right, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def _close(ours: dict[str, float], right: dict[str, float]) -> bool:
    return ours.keys() == right.keys() and all(_near(ours[key], right[key]) for key in right)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0 where everything was equal."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden_run", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of golden files")
    folder: Path = parser.parse_args(arguments).folder
    if not folder.is_dir():
        parser.error(f"{folder} is not a folder")
    outcomes = []
    for outcome in run(folder):
        print(outcome, flush=True)
        for difference in outcome.differences[:_SHOWN]:
            print(f"  {difference}", flush=True)
        outcomes.append(outcome)
    if not outcomes:
        print(f"{folder} holds no golden files", file=sys.stderr)
        return 1
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
