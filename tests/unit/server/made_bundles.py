"""A model bundle as the service reads it, without networks."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

BITS = 1280


def picture(width: int = 1024, height: int = 1024, kind: str = "PNG", seed: int = 0) -> bytes:
    """An image file."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    file = io.BytesIO()
    small.resize((width, height)).save(file, kind)
    return file.getvalue()


def canary_answer() -> tuple[np.ndarray, np.ndarray]:
    """Codes and features that are right for the canary."""
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 128, (64, 64), dtype=np.uint8)
    return codes, rng.normal(size=BITS).astype(np.float32)


def bundle_content(**changed: Any) -> dict[str, Any]:
    """What ``bundle.yaml`` says."""
    network = {
        "architecture": "a",
        "source": "s",
        "licence": "l",
        "weights_sha256": "00",
        "preprocessing": "p",
        "random_weights": False,
    }
    return {
        "schema": 1,
        "fingerprint": "ab" * 32,
        "random_weights": False,
        "texture_bits": BITS,
        "hamming_threshold_bits": 180,
        "semantic_order": list(reversed(range(128))),
        "patch_size_px": 1024,
        "networks": {"vqvae": network | {"name": "v"}, "texture": network | {"name": "t"}},
        "triton": {
            "encoder_model": "patch_encoder",
            "raw_encoder_model": "patch_encoder_raw",
            "version": "1",
        },
        "canary": {
            "image": "canary/patch.png",
            "codes": "canary/codes.npy",
            "texture_features": "canary/texture_features.npy",
            "max_differing_codes": 4,
            "max_differing_texture_bits": 13,
            "reduced_precision": {"max_differing_codes": 409, "max_differing_texture_bits": 22},
        },
        **changed,
    }


def write_bundle(folder: Path, **changed: Any) -> Path:
    """Write a whole bundle."""
    (folder / "canary").mkdir(parents=True)
    (folder / "bundle.yaml").write_text(yaml.safe_dump(bundle_content(**changed), sort_keys=False))
    (folder / "canary/patch.png").write_bytes(picture())
    codes, features = canary_answer()
    np.save(folder / "canary/codes.npy", codes)
    np.save(folder / "canary/texture_features.npy", features)
    return folder
