"""The canary: a fixed patch with known codes and texture, which a serving system encodes again.

A server that gives other answers for it (because of another library, a broken accelerator or
altered weights) would fill an index with codes that match nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from slidekin_models.decoding import PATCH_PX
from slidekin_models.networks.seeded import golden_image
from slidekin_models.runtimes.placement import Placement
from slidekin_models.runtimes.serving import load_texture, load_vqvae

IMAGE = Path("canary/patch.png")
CODES = Path("canary/codes.npy")
TEXTURE_FEATURES = Path("canary/texture_features.npy")


def write_canary(bundle: Path) -> None:
    """Encode the fixed patch with the bundle's networks (torch, fp32, CPU) and write all three.

    Args:
        bundle: Directory that holds the model directories ``vqvae`` and ``texture``.
    """
    pixels = golden_image(PATCH_PX)
    (bundle / IMAGE).parent.mkdir()
    Image.fromarray(pixels).save(bundle / IMAGE)
    placement = Placement()
    np.save(bundle / CODES, load_vqvae(bundle / "vqvae", placement).encode(pixels[None])[0])
    features = load_texture(bundle / "texture", placement).encode(pixels[None])[0]
    np.save(bundle / TEXTURE_FEATURES, features)
