"""A network in two halves: the trunk in any precision, the judgement after it always in fp32."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slidekin_models.networks.textures import TextureNetwork
from slidekin_models.networks.vqvae import Codebook, VqVae, scale_pixels


@dataclass(frozen=True, slots=True)
class Halves:
    """The two halves of a network, to be run one after the other."""

    trunk: nn.Module
    """Pixels (n, side, side, 3) uint8 to maps (n, channels, h, w): nearly all of the work."""
    judgement: nn.Module
    """float32 maps to the answer. Here tiny differences decide (which codeword is nearest, which of
    two features is greater), so no runtime may compute it in less than fp32."""


def halves_of_vqvae(network: VqVae) -> Halves:
    """Encoder, and nearest codeword: raw codes (n, side / 16, side / 16) uint8."""
    return Halves(_Encoder(network.encoder), _NearestCodeword(network.codebook))


def halves_of_texture(network: TextureNetwork) -> Halves:
    """Trunk, and mean over its last map: features (n, texture_bits) float32."""
    return Halves(_Trunk(network), _Mean())


class _Encoder(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.encoder(scale_pixels(images))
        return maps


class _NearestCodeword(nn.Module):
    def __init__(self, codebook: Codebook) -> None:
        super().__init__()
        self.codebook = codebook

    def forward(self, maps: Tensor) -> Tensor:
        return self.codebook.assign(maps).to(torch.uint8)


class _Trunk(nn.Module):
    def __init__(self, network: TextureNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.maps(images)


class _Mean(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3))
