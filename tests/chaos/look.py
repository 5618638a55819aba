"""A look at everything that the service holds, judged against what it may hold."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from tests.chaos.asked import CODES, IMAGES, as_codes, image_content
from tests.chaos.stack import Stack
from tests.faults.content import content
from tests.faults.model import GENERATION, Model, Version
from tests.service_calls import FINGERPRINT

from slidekin import Client, Codes, ExportedSlide, UnavailableError

_PATIENCE_S = 30.0
"""An export is one stream, which the SDK does not repeat."""


class Look:
    """Reads what there is.

    Attributes:
        slides: Seen by the last look.
        patches: Seen by the last look.
    """

    def __init__(self, stack: Stack, model: Model, *, images: bool) -> None:
        self._stack = stack
        self._model = model
        self._images = images
        self.slides = self.patches = 0

    def while_in_use(self) -> list[str]:
        """Read every patch of every slide while others write."""
        with self._stack.client() as client:
            since = self._model.tick()
            found, faults = self._read(client)
            return [*faults, *self._model.judge(found, since, self._model.tick())]

    def at_the_end(self) -> list[str]:
        """The same after the last call has ended; then search for each slide."""
        with self._stack.client() as client:
            found, faults = self._read(client)
            now = self._model.tick()
            faults += self._model.judge(found, now, now)
            del found[GENERATION]
            for slide, version in found.items():
                assert version is not None
                faults += (
                    self._search_images(client, slide, version)
                    if slide.startswith("image-")
                    else self._search_codes(client, slide, version)
                )
            status = client.status()
            if status.damaged_slides:
                faults.append(f"damaged slides: {status.damaged_slides}")
        return faults

    def _read(self, client: Client) -> tuple[dict[str, Version], list[str]]:
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                exported = [
                    one
                    for collection in ([CODES, IMAGES] if self._images else [CODES])
                    for one in client.export_slides(collection)
                ]
                break
            except UnavailableError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.5)
        self.slides = len(exported)
        self.patches = sum(len(one.codes) for one in exported)
        found: dict[str, Version] = {GENERATION: 0}  # nobody gives the collection another model
        faults: list[str] = []
        for one in exported:
            found[one.slide.slide_id] = int(one.slide.label)
            faults += half_there(one)
        return found, faults

    def _search_codes(self, client: Client, slide: str, version: int) -> Iterator[str]:
        result = client.search_codes(
            as_codes(content(version)), collection=CODES, k=1, model_fingerprint=FINGERPRINT
        )
        if [one.slide.slide_id for one in result.slides] != [slide]:
            yield f"a search for {slide} finds {[one.slide.slide_id for one in result.slides]}"

    def _search_images(self, client: Client, slide: str, version: int) -> Iterator[str]:
        """What was encoded amid faults is what the networks make of it now."""
        result = client.search_patches(list(image_content(version)), collection=IMAGES)
        for hits in result.patch_hits:
            equal = {
                (hit.slide.rpartition("/")[2], hit.patch_index)
                for hit in hits.hits
                if hit.hamming_distance_bits == 0
            }
            if (slide, hits.query_patch_index) not in equal:
                yield f"patch {hits.query_patch_index} of {slide} has other codes than its picture"


def half_there(one: ExportedSlide) -> Iterator[str]:
    """Say where a slide is not what was sent."""
    slide, version = one.slide.slide_id, int(one.slide.label)
    if one.slide.patch_count != len(one.codes):
        yield f"{slide} counts its patches wrong"
    if slide.startswith("image-"):
        places = [(image.x_px, image.y_px) for image in image_content(version)]
        if one.codes.xy.tolist() != [list(place) for place in places]:
            yield f"{slide} is half there"
    elif not _equal(one.codes, as_codes(content(version))):
        yield f"{slide} is half there"


def _equal(one: Codes, other: Codes) -> bool:
    return (
        np.array_equal(one.keys, other.keys)
        and np.array_equal(one.textures, other.textures)
        and np.array_equal(one.xy, other.xy)
    )
