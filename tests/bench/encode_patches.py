"""Patches to encode: of real tissue where there is some, else drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tests.paths import test_data

from slidekin import ImagePatch
from slidekin.slides import encode_patch
from slidekin_models.networks.synthetic import stained_pictures
from slidekin_models.runtimes.gate import Tissue
from slidekin_models.sampling import SampleSettings, TissueSampler

PATCH_PX = 1024
FileFormat = Literal["jpeg", "png", "raw"]
FORMATS: tuple[FileFormat, ...] = ("jpeg", "png", "raw")
_SLIDE = "slides/CMU-1-Small-Region.svs"


@dataclass(frozen=True)
class Patches:
    """The same patches as pixels and as files. Numbers of patches go round."""

    pixels: Sequence[NDArray[np.uint8]]
    """Each (1, 1024, 1024, 3)."""
    files: Mapping[FileFormat, Sequence[bytes]]
    source: str
    """Where they come from."""

    def tissue(self, count: int) -> Tissue:
        """What the gate compares runtimes on."""
        return Tissue(tuple(one[0] for one in self.pixels[:count]), (self.source,))

    def file(self, file_format: FileFormat, number: int) -> bytes:
        """The bytes of one of them."""
        return self.files[file_format][number % len(self.pixels)]

    def image(self, file_format: FileFormat, number: int) -> ImagePatch:
        """One of them as the SDK takes it."""
        return ImagePatch(
            x_px=number * PATCH_PX,
            y_px=0,
            data=self.file(file_format, number),
            format="rgb" if file_format == "raw" else file_format,
            width_px=PATCH_PX,
            height_px=PATCH_PX,
        )


def read_patches(count: int) -> Patches:
    """Read patches of a real slide; where none is at hand, draw them and say so."""
    data = test_data()
    if data is None:
        source = "drawn pictures"
        pixels = list(stained_pictures(count, PATCH_PX, seed=0))
    else:
        source = "H&E tissue of CMU-1-Small-Region.svs"
        pixels = list(TissueSampler([data / _SLIDE], SampleSettings()).patches(count))
    images = [Image.fromarray(one) for one in pixels]
    files = {name: [encode_patch(image, name) for image in images] for name in FORMATS}
    # Copied: the sampler's arrays cannot be written to, of which torch warns.
    return Patches([one[np.newaxis].copy() for one in pixels], files, source)
