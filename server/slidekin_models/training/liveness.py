"""Prevents the codebook from collapsing, and measures how much of it is in use.

With the published loss alone, the encoder soon uses a handful of codewords, and all keys become
alike. Three measures prevent that; each can be switched off. Codewords are initialised at the
encoder's outputs; they follow the running means of the vectors that choose them (van den Oord et
al. 2017, appendix A.1); a codeword that is hardly chosen is restarted as a vector of the batch (as
in Dhariwal et al. 2020, "Jukebox").
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from slidekin_models.networks.clustering import cluster_centres
from slidekin_models.networks.vqvae import CODEBOOK_SIZE, Codebook
from slidekin_models.training.settings import RESTART_STREAM, START_STREAM

DECAY = 0.95
"""Of the running means: they look back about twenty steps."""
DEAD_SHARE = 0.05
"""A codeword is dead if it is chosen less often than this fraction of an even share."""
_FRESH_SHARE = 0.2
"""Count given to a restarted codeword: it has time to be chosen, and can still move easily."""

Sum = Callable[[Tensor], Tensor]
"""Sums a tensor over all processes."""


class CodebookCare(nn.Module):
    """Running counts and sums of the vectors behind each codeword; part of a checkpoint."""

    counts: Tensor
    sums: Tensor
    use: Tensor

    def __init__(self, codebook: Codebook, *, ema: bool, restart: bool, seed: int) -> None:
        super().__init__()
        words = codebook.embedding.weight.detach().clone()
        self._ema, self._restart, self._seed = ema, restart, seed
        # Start with even shares, so that no codeword counts as dead before it could be chosen.
        self.register_buffer("counts", torch.ones(CODEBOOK_SIZE))
        self.register_buffer("sums", words)
        # Counts without those given to restarted codewords.
        self.register_buffer("use", torch.zeros(CODEBOOK_SIZE))

    @torch.no_grad()
    def start(self, codebook: Codebook, z: Tensor) -> None:
        """Set the codewords to cluster centres of vectors: ``z`` of shape (n, dim, h, w)."""
        vectors = _vectors(z).double().cpu().numpy()
        rng_seed = int(np.random.default_rng([self._seed, START_STREAM]).integers(2**31))
        words = torch.from_numpy(cluster_centres(vectors, CODEBOOK_SIZE, rng_seed))
        codebook.embedding.weight.copy_(words)
        self.sums.copy_(codebook.embedding.weight)

    @torch.no_grad()
    def after_step(
        self, codebook: Codebook, z: Tensor, codes: Tensor, step: int, add_up: Sum
    ) -> int:
        """Count what a step's vectors chose; move and restart codewords if switched on.

        Args:
            codebook: Changed in place.
            z: Encoder outputs of this process, (n, dim, h, w) float32.
            codes: Their codes, (n, h, w).
            step: With the seed, decides which vectors replace dead codewords.
            add_up: Sums over all processes.

        Returns:
            How many codewords were restarted.
        """
        vectors = _vectors(z)
        chosen = nn.functional.one_hot(codes.flatten(), CODEBOOK_SIZE).to(vectors.dtype)
        counts, sums = add_up(chosen.sum(dim=0)), add_up(chosen.t() @ vectors)
        even = counts.sum() / CODEBOOK_SIZE
        self.counts.lerp_(counts / even, 1 - DECAY)
        self.sums.lerp_(sums / even, 1 - DECAY)
        self.use.lerp_(counts / even, 1 - DECAY)
        words = codebook.embedding.weight
        if self._ema:
            # A codeword without vectors does not move: its sum decays as fast as its count.
            words.copy_(self.sums / self.counts.clamp_min(1e-6)[:, None])
        return self._bring_back(words, vectors, step) if self._restart else 0

    def dead(self) -> int:
        """Number of codewords that were hardly chosen in about the last twenty steps."""
        share = self.use / self.use.mean().clamp_min(1e-12)
        return int((share < DEAD_SHARE).sum())

    def perplexity(self) -> float:
        """Perplexity of the codes' use in about the last twenty steps: 1 to 128."""
        return perplexity(self.use)

    def _bring_back(self, words: Tensor, vectors: Tensor, step: int) -> int:
        dead = torch.nonzero(self.counts < DEAD_SHARE).flatten()
        if not len(dead):
            return 0
        rng = np.random.default_rng([self._seed, RESTART_STREAM, step])
        replace = len(dead) > len(vectors)
        picks = torch.from_numpy(rng.choice(len(vectors), len(dead), replace=replace))
        words[dead] = vectors[picks.to(vectors.device)].to(words.dtype)
        self.counts[dead] = _FRESH_SHARE
        self.sums[dead] = words[dead] * _FRESH_SHARE
        return len(dead)


def perplexity(counts: Tensor) -> float:
    """Return ``exp`` of the entropy of counts: the number of codes in effective use."""
    share = counts.double() / counts.double().sum().clamp_min(1e-12)
    share = share[share > 0]
    return float(torch.exp(-(share * share.log()).sum()))


def _vectors(z: Tensor) -> Tensor:
    """(n, dim, h, w) as (n * h * w, dim) float32."""
    return z.permute(0, 2, 3, 1).reshape(-1, z.shape[1]).float()
