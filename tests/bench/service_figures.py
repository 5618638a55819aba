"""Figures of the index within the service: its start from the store, a search through gRPC."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry
from tests.bench.cohort import SLIDE_PATCHES, TEXTURE_BITS, Cohort
from tests.bench.lines import say
from tests.bench.processes import environment
from tests.bench.timing import each_ms, rss_bytes, spread
from tests.paths import PROJECT
from tests.service_process import ServiceProcess

from slidekin import Client, Codes, Timings
from slidekin_server.archive.archive import Archive
from slidekin_server.index import warm_up
from slidekin_server.storage import CollectionRecord, SlideFacts, SqliteStore
from slidekin_server.telemetry import Metrics

START_SLIDES = 100_000
_COLLECTION = "cohort"
_FINGERPRINT = "f" * 64
_QUERIES = 40


def measure(patches: int) -> None:
    """Draw a store; measure a start with 100,000 slides of it, then searches of all of it."""
    cohort = Cohort(patches)
    with tempfile.TemporaryDirectory(prefix="slidekin-bench-") as temporary:
        folder = Path(temporary)
        slides = cohort.slides()
        draw(folder / "store", cohort, itertools.islice(slides, START_SLIDES), new=True)
        command = [sys.executable, "-m", "tests.bench.service_figures", str(folder / "store")]
        subprocess.run(command, check=True, cwd=PROJECT, env=environment())
        draw(folder / "store", cohort, slides, new=False)
        search(folder, cohort)


def draw(folder: Path, cohort: Cohort, slides: itertools.islice, *, new: bool) -> None:
    """Write slides to a store; what that takes is no figure of the start."""
    begin = time.perf_counter()
    written = 0
    with SqliteStore.open(folder, synchronous="normal") as store:
        if new:
            store.create_collection(CollectionRecord(_COLLECTION, _FINGERPRINT, TEXTURE_BITS, 128))
        for number, codes in slides:
            facts = SlideFacts(
                f"slide-{number}", patient_id=f"patient-{number // 2}", label=cohort.label(number)
            )
            store.add_slide(_COLLECTION, facts, codes)
            written += 1
    rate = written / (time.perf_counter() - begin)
    say("store writes", rate, "slides/s", patches=written * SLIDE_PATCHES, synchronous="normal")


def start(folder: Path) -> None:
    """Measure how long the archive takes to be ready on a store, kernels compiled."""
    compile_s = warm_up()
    before = rss_bytes()
    begin = time.perf_counter()
    with SqliteStore.open(folder) as store:
        archive = Archive(store, Metrics(CollectorRegistry()))
        archive.load()
        taken_s = time.perf_counter() - begin
        view = archive.view(_COLLECTION)
        patches = view.snapshot.patches
        say(
            "start from the store",
            taken_s,
            "s",
            patches=patches,
            slides=len(view.facts),
            warm_up_s=round(compile_s, 2),
            rss_bytes_per_patch=round((rss_bytes() - before) / patches, 1),
            peak_bytes_per_patch=round((rss_bytes("VmHWM") - before) / patches, 1),
        )


def search(folder: Path, cohort: Cohort) -> None:
    """Measure a slide's search by codes through gRPC, from the call to the ranked answer."""
    codes = cohort.queries(_QUERIES + 2, first=5000)
    slides = [
        Codes(codes.keys[part], codes.textures[part], codes.xy[part])
        for begin in range(0, len(codes), SLIDE_PATCHES)
        for part in [slice(begin, begin + SLIDE_PATCHES)]
    ]
    begin = time.perf_counter()
    # The loader's threads settle before the first search is timed; two searches warm the road up.
    with ServiceProcess(folder, {"storage": {"path": str(folder / "store")}}) as service:
        ready_s = time.perf_counter() - begin
        say("service ready", ready_s, "s", patches=cohort.patches)
        with Client(service.url) as client:
            found: list[int] = []
            timings: list[Timings] = []

            def ask(slide: Codes) -> None:
                answer = client.search_codes(
                    slide, collection=_COLLECTION, k=5, model_fingerprint=_FINGERPRINT
                )
                found.append(len(answer.slides))
                timings.append(answer.timings)

            for slide in slides[:2]:
                ask(slide)
            taken = each_ms(ask, [(slide,) for slide in slides[2:]])
    # By the service's clock; the search is a sum over patches that two threads share.
    stages = {
        name: round(float(np.median([getattr(times, name) for times in timings])) * 1e3, 2)
        for name in ("total_s", "search_s", "rank_s")
    }
    more = {
        "ranked_slides": sorted(set(found)),
        "service_total_ms": stages["total_s"],
        "service_search_ms": stages["search_s"],
        "service_rank_ms": stages["rank_s"],
        **spread(taken),
    }
    say("search through gRPC", float(np.median(taken)), "ms", patches=cohort.patches, **more)


if __name__ == "__main__":
    start(Path(sys.argv[1]))
