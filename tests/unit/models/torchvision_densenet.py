"""DenseNet-121 as torchvision publishes it: names, shapes and arithmetic, written out once more.

From the architecture (Huang et al., CVPR 2017: growth 32, blocks of 6, 12, 24 and 16 layers,
bottlenecks of 4 x 32) and torchvision's names, without any of the code that is tested with it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

GROWTH = 32
BOTTLENECK = 128
LAYERS = (6, 12, 24, 16)


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts}


def parameter_shapes() -> dict[str, tuple[int, ...]]:
    """As in ``densenet121-a639ec97.pth``: ``norm.1`` where today's network says ``norm1``."""
    shapes: dict[str, tuple[int, ...]] = {"features.conv0.weight": (64, 3, 7, 7)}
    shapes |= _norm("features.norm0", 64)
    channels = 64
    for block, layers in enumerate(LAYERS, start=1):
        for layer in range(1, layers + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            shapes |= _norm(f"{name}.norm.1", channels)
            shapes[f"{name}.conv.1.weight"] = (BOTTLENECK, channels, 1, 1)
            shapes |= _norm(f"{name}.norm.2", BOTTLENECK)
            shapes[f"{name}.conv.2.weight"] = (GROWTH, BOTTLENECK, 3, 3)
            channels += GROWTH
        if block < len(LAYERS):
            name = f"features.transition{block}"
            shapes |= _norm(f"{name}.norm", channels)
            shapes[f"{name}.conv.weight"] = (channels // 2, channels, 1, 1)
            channels //= 2
    shapes |= _norm("features.norm5", channels)
    shapes |= {"classifier.weight": (1000, channels), "classifier.bias": (1000,)}
    return shapes


def modern(name: str) -> str:
    """The name in today's torchvision: ``norm1`` for ``norm.1``."""
    for part in ("norm", "conv"):
        for number in ("1", "2"):
            name = name.replace(f".{part}.{number}.", f".{part}{number}.")
    return name


def features(tensors: Mapping[str, Tensor], pixels: Tensor) -> Tensor:
    """Normalised pixels (n, 3, h, w) to the mean of the last BatchNorm's map, (n, 1024)."""

    def norm(name: str, x: Tensor) -> Tensor:
        return functional.batch_norm(
            x,
            tensors[f"features.{name}.running_mean"],
            tensors[f"features.{name}.running_var"],
            tensors[f"features.{name}.weight"],
            tensors[f"features.{name}.bias"],
            eps=1e-5,
        )

    def conv(name: str, x: Tensor, **how: int) -> Tensor:
        return functional.conv2d(x, tensors[f"features.{name}.weight"], **how)

    x = torch.relu(norm("norm0", conv("conv0", pixels, stride=2, padding=3)))
    x = functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)
    for block, layers in enumerate(LAYERS, start=1):
        for layer in range(1, layers + 1):
            name = f"denseblock{block}.denselayer{layer}"
            new = conv(f"{name}.conv.1", torch.relu(norm(f"{name}.norm.1", x)))
            new = conv(f"{name}.conv.2", torch.relu(norm(f"{name}.norm.2", new)), padding=1)
            x = torch.cat([x, new], dim=1)
        if block < len(LAYERS):
            name = f"transition{block}"
            x = conv(f"{name}.conv", torch.relu(norm(f"{name}.norm", x)))
            x = functional.avg_pool2d(x, kernel_size=2, stride=2)
    return norm("norm5", x).mean(dim=(2, 3))
