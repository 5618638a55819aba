"""Loads on Triton and on the whole service, and what came of them."""

from __future__ import annotations

import itertools
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tests.bench.encode_patches import FileFormat, Patches
from tests.triton_stack import TritonState
from tritonclient.grpc import InferenceServerClient, InferInput

from slidekin import Client, ImagePatch, PatchHits, _transport

# Clients of one process would share one connection; these stand for clients of many.
_transport.CHANNEL_OPTIONS += (("grpc.use_local_subchannel_pool", 1),)

COLLECTION = "bench"
_BATCHED = ("vqvae", "texture", "image_decoder")


@dataclass(frozen=True)
class Load:
    """What came of a load."""

    seconds: float
    """From the first request to the last answer."""
    taken_ms: list[float]
    """Of each patch, from its sender's handing it over to its answer."""
    mean_batch: dict[str, float]
    """Patches that each of Triton's models took at a time."""

    @property
    def rate(self) -> float:
        """Patches a second."""
        return len(self.taken_ms) / self.seconds

    def facts(self) -> dict[str, float | dict[str, float]]:
        """What belongs to the figure."""
        p50, p99 = np.percentile(self.taken_ms, [50, 99])
        return {"p50_ms": round(p50, 1), "p99_ms": round(p99, 1), "mean_batch": self.mean_batch}


@dataclass(frozen=True)
class Stack:
    """A running Triton and the service before it."""

    triton: TritonState
    service_url: str
    patches: Patches

    def ask_triton(
        self, client: InferenceServerClient, file_format: FileFormat, number: int
    ) -> None:
        """Have Triton encode one patch."""
        if file_format == "raw":
            tensor = InferInput("PIXELS", [1, 1024, 1024, 3], "UINT8")
            tensor.set_data_from_numpy(self.patches.pixels[number % len(self.patches.pixels)])
            model = "patch_encoder_raw"
        else:
            tensor = InferInput("IMAGE", [1, 1], "BYTES")
            file = self.patches.file(file_format, number)
            tensor.set_data_from_numpy(np.array([[file]], dtype=np.object_))
            model = "patch_encoder"
        client.infer(self.triton.model(model), [tensor])

    def ask_service(self, client: Client, file_format: FileFormat, number: int) -> None:
        """Search for one patch."""
        client.search_patches([self.patches.image(file_format, number)], collection=COLLECTION)

    def through_triton(self, patches: int, *, in_flight: int) -> Load:
        """One client that keeps so many patches in flight at Triton."""
        numbers = iter(range(patches))
        with InferenceServerClient(self.triton.grpc_url) as client:

            def work() -> Iterator[float]:
                # Each number goes to whichever thread comes for it first.
                for number in numbers:
                    begin = time.perf_counter()
                    self.ask_triton(client, "jpeg", number)
                    yield _since_ms(begin)

            return self._measured([work] * in_flight)

    def one_at_a_time(self, clients: int, patches: int) -> Load:
        """Clients that search for one patch after the other."""

        def work() -> Iterator[float]:
            with Client(self.service_url) as client:
                for number in range(patches // clients):
                    begin = time.perf_counter()
                    self.ask_service(client, "jpeg", number)
                    yield _since_ms(begin)

        return self._measured([work] * clients)

    def streams(self, clients: int, patches: int, file_format: FileFormat) -> Load:
        """Clients of which each searches for a slide, its patches streamed."""

        def work() -> Iterator[float]:
            handed_over: list[float] = []

            def slide() -> Iterator[ImagePatch]:
                for number in range(patches // clients):
                    handed_over.append(time.perf_counter())
                    yield self.patches.image(file_format, number)

            with Client(self.service_url) as client:
                for answer in client.stream_search(slide(), collection=COLLECTION):
                    if isinstance(answer, PatchHits):
                        yield _since_ms(handed_over[answer.query_patch_index])

        return self._measured([work] * clients)

    def _measured(self, work: list[Callable[[], Iterator[float]]]) -> Load:
        """Let every part begin at the same moment, each in a thread, and wait for the last."""
        start = threading.Barrier(len(work) + 1)

        def run(part: Callable[[], Iterator[float]]) -> list[float]:
            start.wait()
            return list(part())

        before = self._batch_counts()
        with ThreadPoolExecutor(len(work)) as pool:
            running = [pool.submit(run, part) for part in work]
            start.wait()
            begin = time.perf_counter()
            taken = list(itertools.chain.from_iterable(one.result() for one in running))
            seconds = time.perf_counter() - begin
        mean_batch = {}
        for model, (patches, steps) in self._batch_counts().items():
            known_patches, known_steps = before[model]
            if steps > known_steps:
                batch = (patches - known_patches) / (steps - known_steps)
                mean_batch[model] = round(batch, 2)
        return Load(seconds, taken, mean_batch)

    def _batch_counts(self) -> dict[str, tuple[int, int]]:
        """Patches and steps of Triton's models so far, by its metrics."""
        with urllib.request.urlopen(self.triton.metrics_url, timeout=10) as answer:
            text = answer.read().decode()

        def count(name: str, model: str) -> int:
            found = re.search(rf'^{name}{{model="{model}",[^}}]*}} (\d+)', text, re.MULTILINE)
            return int(found[1]) if found else 0

        return {
            model: (
                count("nv_inference_count", self._served(model)),
                count("nv_inference_exec_count", self._served(model)),
            )
            for model in _BATCHED
        }

    def _served(self, model: str) -> str:
        # The decoder is common to all bundles.
        return model if model == "image_decoder" else self.triton.model(model)


def _since_ms(begin: float) -> float:
    return (time.perf_counter() - begin) * 1e3
