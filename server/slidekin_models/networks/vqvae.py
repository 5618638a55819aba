"""The VQ-VAE whose discrete codes become a patch's key.

Layers and parameter names are those of the published checkpoint (Chen et al., Nature Biomedical
Engineering 6, 1420-1434, 2022), so its weights load unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

CODEBOOK_SIZE = 128
CODE_DIM = 256
CHANNELS = 256
DOWNSAMPLING = 16
"""One code stands for a square with this many pixels on each side."""
PREPROCESSING = "rgb8-1024/symmetric-v1"
"""Pixels 0..255 become 2 * (x / 255) - 1."""


class ResidualBlock(nn.Module):
    """``x + net(x)`` with pre-activation: BatchNorm, ReLU, conv 3x3, BatchNorm, ReLU, conv 1x1."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, channels, h, w) in and out."""
        residual: Tensor = self.net(x)
        return x + residual


class Codebook(nn.Module):
    """The codewords, and the assignment of vectors to the nearest of them."""

    def __init__(self, size: int = CODEBOOK_SIZE, dim: int = CODE_DIM) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, dim)

    def assign(self, z: Tensor) -> Tensor:
        """Return the nearest codeword of each vector; ties go to the lowest index.

        Args:
            z: Shape (n, dim, h, w), float32.

        Returns:
            Shape (n, h, w), int64.
        """
        words = self.embedding.weight
        vectors = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
        # The nearest codeword may be nearer by a hair only: mixed precision must not judge it.
        with torch.autocast(z.device.type, enabled=False):
            # |z|^2 is the same for every codeword, so the comparison leaves it out.
            distance = (words * words).sum(dim=1) - 2 * (vectors @ words.t())
        nearest = distance.argmin(dim=1)
        return nearest.reshape(z.shape[0], z.shape[2], z.shape[3])

    def lookup(self, codes: Tensor) -> Tensor:
        """Codewords of ``codes`` (n, h, w), as (n, dim, h, w)."""
        words: Tensor = self.embedding(codes)
        return words.permute(0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class Losses:
    """The training loss and its parts, as scalars that carry gradients."""

    loss: Tensor
    """``recon_loss + reg_loss``."""
    recon_loss: Tensor
    """Mean squared error of the reconstruction, on pixels in [-1, 1]."""
    reg_loss: Tensor
    """Mean squared (z - sg[e]) plus mean squared (sg[z] - e)."""
    z: Tensor
    """Outputs of the encoder: (n, dim, h, w), float32, without gradients."""
    codes: Tensor
    """Its codes: (n, h, w), int64."""


def _down(channels_in: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, CHANNELS, kernel_size=4, stride=2, padding=1)


def _up(channels_out: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(CHANNELS, channels_out, kernel_size=4, stride=2, padding=1)


class VqVae(nn.Module):
    """Encoder, codebook and decoder."""

    def __init__(self) -> None:
        super().__init__()
        # Positions in the sequences are part of the checkpoint's parameter names.
        self.encoder = nn.Sequential(
            _down(3),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(CHANNELS),
            _down(CHANNELS),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(CHANNELS),
            _down(CHANNELS),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(CHANNELS),
            _down(CHANNELS),
            ResidualBlock(),
            ResidualBlock(),
        )
        self.codebook = Codebook()
        self.decoder = nn.Sequential(
            ResidualBlock(),
            ResidualBlock(),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(CHANNELS),
            _up(CHANNELS),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(CHANNELS),
            _up(CHANNELS),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(CHANNELS),
            _up(CHANNELS),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(CHANNELS),
            _up(3),
            nn.Tanh(),
        )

    def codes(self, images: Tensor) -> Tensor:
        """Raw codes of patches, before the semantic order is applied.

        Args:
            images: Shape (n, side, side, 3), uint8 RGB; ``side`` is a multiple of 16.

        Returns:
            Shape (n, side / 16, side / 16), uint8, 0..127.
        """
        z = self.encoder(scale_pixels(images))
        # The nearest codeword may be nearer by a hair only: always judged in float32.
        return self.codebook.assign(z.float()).to(torch.uint8)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Decode the codes of ``images`` (n, side, side, 3) uint8.

        Returns:
            Shape (n, 3, side, side), float32 in [-1, 1].
        """
        z = self.encoder(scale_pixels(images))
        reconstruction: Tensor = self.decoder(self.codebook.lookup(self.codebook.assign(z)))
        return reconstruction

    def losses(self, images: Tensor) -> Losses:
        """Compute the published loss on ``images`` (n, side, side, 3) uint8, all weights 1.

        The gradient of the reconstruction passes the quantisation unchanged (straight-through).
        """
        pixels = scale_pixels(images)
        z = self.encoder(pixels).float()
        codes = self.codebook.assign(z)
        words = self.codebook.lookup(codes)
        straight_through = z + (words - z).detach()
        recon_loss = functional.mse_loss(self.decoder(straight_through).float(), pixels)
        reg_loss = functional.mse_loss(z, words.detach()) + functional.mse_loss(z.detach(), words)
        return Losses(recon_loss + reg_loss, recon_loss, reg_loss, z.detach(), codes)


def scale_pixels(images: Tensor) -> Tensor:
    """Map (n, h, w, 3) uint8 to (n, 3, h, w) in [-1, 1], float32.

    The result for a contiguous input is channels-last in memory, which convolutions prefer.
    """
    return images.permute(0, 3, 1, 2).float().div_(255).mul_(2).sub_(1)
