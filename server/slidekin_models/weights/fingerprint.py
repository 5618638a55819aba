"""The fingerprint of a pair of networks: equal if and only if their codes can be compared."""

from __future__ import annotations

import hashlib
import json

from slidekin_models.weights.manifest import TextureManifest, VqVaeManifest


def fingerprint(vqvae: VqVaeManifest, texture: TextureManifest) -> str:
    """Return the SHA-256 over everything that determines the codes: 64 hexadecimal characters.

    That is weights, architecture, preprocessing and semantic order. Names, notes and the threshold
    are left out, since they change no code.
    """
    deciding = {
        "vqvae": {
            "architecture": vqvae.architecture,
            "weights_sha256": vqvae.weights_sha256,
            "preprocessing": vqvae.preprocessing,
            "semantic_order": vqvae.semantic_order,
        },
        "texture": {
            "architecture": texture.architecture,
            "weights_sha256": texture.weights_sha256,
            "preprocessing": texture.preprocessing,
        },
    }
    canonical = json.dumps(deciding, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
