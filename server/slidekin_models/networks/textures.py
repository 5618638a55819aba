"""The texture networks: an RGB patch in, a vector of floats out.

Each bit of a texture says whether a feature is at least the one before it. The network can be
replaced; to add an architecture, add an entry to :data:`ARCHITECTURES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from slidekin_models.errors import ManifestError


class TextureNetwork(nn.Module):
    """Normalisation, a convolutional trunk, and the mean over its last map."""

    _mean: Tensor
    _std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        # Not persistent: the normalisation belongs to the preprocessing, not to the weights.
        self.register_buffer("_mean", torch.tensor(mean).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(std).reshape(1, -1, 1, 1), persistent=False)

    def trunk(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (n, 3, h, w) to the last feature map (n, features, h', w')."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Features of patches.

        Args:
            images: Shape (n, side, side, 3), uint8 RGB.

        Returns:
            Shape (n, features), float32.
        """
        return self.maps(images).float().mean(dim=(2, 3))

    def maps(self, images: Tensor) -> Tensor:
        """The last feature map of patches (n, side, side, 3) uint8: (n, features, h', w')."""
        pixels = images.permute(0, 3, 1, 2).float().div_(255)
        return self.trunk(pixels.sub_(self._mean).div_(self._std))


class DenseNet121Texture(TextureNetwork):
    """DenseNet-121 up to its last BatchNorm, without the ReLU after it: 1024 features."""

    def __init__(self) -> None:
        super().__init__(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        # Two seconds of imports, which no other network needs.
        from monai.networks.nets.densenet import DenseNet121  # noqa: PLC0415

        self.features = DenseNet121(spatial_dims=2, in_channels=3, out_channels=1).features

    def trunk(self, pixels: Tensor) -> Tensor:
        """Shape (n, features, side / 32, side / 32)."""
        maps: Tensor = self.features(pixels)
        return maps


class EfficientNetLite0Texture(TextureNetwork):
    """EfficientNet-Lite0 up to its last convolution (with BatchNorm, ReLU6): 1280 features."""

    def __init__(self) -> None:
        # The published network was trained on (x - 127) / 128.
        super().__init__(mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
        self.network = EfficientNet.from_name("efficientnet-lite0")
        self.network._fc = nn.Identity()  # noqa: SLF001 (the package offers no headless network)

    def trunk(self, pixels: Tensor) -> Tensor:
        """Shape (n, features, side / 32, side / 32)."""
        maps: Tensor = self.network.extract_features(pixels)
        return maps


@dataclass(frozen=True, slots=True)
class TextureArchitecture:
    """The properties of a texture network that do not depend on its weights."""

    build: Callable[[], TextureNetwork]
    features: int
    """Length of the feature vector, and number of bits of the texture."""
    preprocessing: str
    """Version of the processing of the pixels; changing it changes every fingerprint."""
    foreign_names: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    """Renames the parameters of the weights' usual publisher to ours."""


def _from_torchvision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename torchvision's DenseNet-121 parameters to MONAI's; the classifier is left out.

    The file that torchvision publishes still has ``norm.1`` where its network has ``norm1``.
    """
    renamed = {}
    for name, tensor in tensors.items():
        if name.startswith("classifier."):
            continue
        modern = re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)
        renamed[re.sub(r"(denselayer\d+)\.(norm|conv)", r"\1.layers.\2", modern)] = tensor
    return renamed


def _from_efficientnet_lite(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The package's own names under ours; the classifier is left out."""
    return {f"network.{n}": t for n, t in tensors.items() if not n.startswith("_fc.")}


ARCHITECTURES: Mapping[str, TextureArchitecture] = MappingProxyType(
    {
        "densenet121": TextureArchitecture(
            build=DenseNet121Texture,
            features=1024,
            preprocessing="rgb8-1024/imagenet-v1",
            foreign_names=_from_torchvision,
        ),
        "efficientnet-lite0": TextureArchitecture(
            build=EfficientNetLite0Texture,
            features=1280,
            preprocessing="rgb8-1024/mean127-scale128-v1",
            foreign_names=_from_efficientnet_lite,
        ),
    }
)


def texture_architecture(name: str) -> TextureArchitecture:
    """Return the architecture called ``name``.

    Raises:
        ManifestError: There is no such architecture.
    """
    try:
        return ARCHITECTURES[name]
    except KeyError:
        known = ", ".join(sorted(ARCHITECTURES))
        msg = f"architecture: no texture network is called {name!r}; known are {known}"
        raise ManifestError(msg) from None
