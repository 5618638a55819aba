"""Networks with random weights, for tests and trials; their names say so."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from slidekin_models.networks import seeded, synthetic
from slidekin_models.networks.clustering import cluster_centres
from slidekin_models.networks.textures import texture_architecture
from slidekin_models.networks.vqvae import CODEBOOK_SIZE, VqVae

_PICTURES = 24
_PICTURE_PX = 256


def random_vqvae(seed: int) -> dict[str, Tensor]:
    """Return weights of an untrained VQ-VAE that nevertheless uses its whole codebook.

    Random codewords would lie far from all outputs of a random encoder, and nearly every cell of a
    picture would get the same few codes. The codewords are therefore cluster centres of the
    encoder's outputs on drawn pictures. Everything is computed in double precision and rounded to
    half precision, so that every machine gets the same weights.
    """
    network = VqVae().eval()
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    tensors = seeded.seeded_tensors(shapes, seed)
    network.load_state_dict(tensors)
    pictures = synthetic.stained_pictures(_PICTURES, _PICTURE_PX, seed)
    encoder = network.encoder.double()
    outputs = []
    with torch.inference_mode():
        for picture in pictures:
            pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].double() / 255 * 2 - 1
            outputs.append(encoder(pixels)[0].flatten(1).T.numpy())
    centres = cluster_centres(np.concatenate(outputs), CODEBOOK_SIZE, seed)
    tensors["codebook.embedding.weight"] = torch.from_numpy(centres).half().float()
    return tensors


def random_texture(architecture: str, seed: int) -> dict[str, Tensor]:
    """Return weights of an untrained texture network."""
    network = texture_architecture(architecture).build()
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    return seeded.seeded_tensors(shapes, seed)
