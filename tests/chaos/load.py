"""What goes on while things break: clients that write and search, as fast as they are told to."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Mapping

from tests.chaos.asked import AskedBySdk, ImagesBySdk
from tests.chaos.calls import Kind
from tests.faults.asked import CallFailedError
from tests.faults.client import JudgedClient
from tests.faults.history import History
from tests.faults.model import Model

IMAGE_SLIDES = tuple(f"image-{number}" for number in range(6))
_WRITERS = 2
_PAUSE_S = 0.03
"""Between two calls of a client: the machine is to have time for faults, too."""
_IMAGE_PAUSE_S = 0.3
_AFTER_FAILURE_S = 0.2
_END_S = 90.0


class Load:
    """The clients of a run. They never give up.

    Args:
        codes: The way to the service for ready-made codes.
        images: The same for pictures; None: there are no networks.
        model: What the service may hold.
        history: Where everything is noted.
        seed: Of all that the clients choose.
    """

    def __init__(
        self,
        codes: AskedBySdk,
        images: ImagesBySdk | None,
        model: Model,
        history: History,
        *,
        seed: str,
    ) -> None:
        self._images = images
        self._model = model
        self._history = history
        self._versions = itertools.count(1)
        self._stop = threading.Event()
        self.faults: list[str] = []
        """What cannot be true of the answers."""
        self._client = JudgedClient(
            codes, model, history, new_version=lambda: next(self._versions), tell=self._fault
        )
        jobs = [(self._client.write, _PAUSE_S)] * _WRITERS + [(self._client.search, _PAUSE_S)]
        if images is not None:
            jobs += [(self._write_image, _IMAGE_PAUSE_S), (self._search_image, _IMAGE_PAUSE_S)]
        self._threads = [
            threading.Thread(
                target=self._run, args=(job, pause_s, random.Random(f"{seed}/{number}"))
            )
            for number, (job, pause_s) in enumerate(jobs)
        ]

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What must work again after a fault, and the calls that show it."""
        shown = {"search": Kind.SEARCH, "ingest": Kind.INGEST}
        if self._images is not None:
            shown["images"] = Kind.IMAGE_INGEST
        return shown

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask for no more, and wait for what is under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_END_S)
            if thread.is_alive():
                self._fault(f"a call did not end within {_END_S:.0f} s")

    def _run(
        self, job: Callable[[random.Random], None], pause_s: float, chance: random.Random
    ) -> None:
        while not self._stop.is_set():
            try:
                job(chance)
            except CallFailedError:
                self._stop.wait(_AFTER_FAILURE_S)  # noted by the log of calls, and judged there
            except Exception as error:
                self._fault(f"a client failed: {error!r}")
                raise
            self._stop.wait(pause_s)

    def _fault(self, fault: str) -> None:
        self.faults.append(fault)
        self._history.note("fault", what=fault)

    def _write_image(self, chance: random.Random) -> None:
        images = self._images
        assert images is not None
        slide, version = chance.choice(IMAGE_SLIDES), next(self._versions)
        self._client.change((slide,), version, lambda: images.add(slide, version))

    def _search_image(self, chance: random.Random) -> None:
        assert self._images is not None
        slide = chance.choice(IMAGE_SLIDES)
        now = self._model.tick()
        version = chance.choice(sorted(self._model.possible(slide, now, now), key=str))
        if version is None:
            return
        start = self._model.tick()
        result = self._images.search(version)
        end = self._model.tick()
        labels = {one.slide.slide_id: int(one.slide.label) for one in result.slides}
        for other, label in labels.items():
            possible = self._model.possible(other, start, end)
            if label not in possible:
                self._fault(f"a search by image found version {label} of {other}, not {possible}")
        if self._model.possible(slide, start, end) != {version}:
            return
        best = result.slides[0] if result.slides else None
        if best is None or labels.get(slide) != version or best.hamming_distance_bits != 0:
            self._fault(f"a search by its images missed version {version} of {slide}: {labels}")
