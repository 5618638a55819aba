from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from slidekin_models.networks.vqvae import CODE_DIM, CODEBOOK_SIZE, Codebook
from slidekin_models.training.liveness import CodebookCare, perplexity


def alone(tensor: Tensor) -> Tensor:
    """The sum over all processes where there is one."""
    return tensor


def made(*, ema: bool = True, restart: bool = True) -> tuple[Codebook, CodebookCare]:
    torch.manual_seed(0)
    codebook = Codebook()
    return codebook, CodebookCare(codebook, ema=ema, restart=restart, seed=0)


def maps(vectors: Tensor) -> Tensor:
    """(n, dim) as encoder outputs (1, dim, 1, n)."""
    return vectors.t()[None, :, None]


def steps(codebook: Codebook, care: CodebookCare, z: Tensor, count: int) -> int:
    restarted = 0
    for step in range(count):
        codes = codebook.assign(z)
        restarted += care.after_step(codebook, z, codes, step, alone)
    return restarted


def test_perplexity_counts_the_codes_in_use() -> None:
    assert perplexity(torch.tensor([5.0, 5.0, 0.0])) == pytest.approx(2)
    assert perplexity(torch.ones(128)) == pytest.approx(128)
    assert perplexity(torch.tensor([9.0, 0.0])) == pytest.approx(1)
    assert perplexity(torch.tensor([3.0, 1.0])) == pytest.approx(
        math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    )


def test_codewords_begin_at_the_centres_of_clusters() -> None:
    codebook, care = made()
    centres = torch.randn(CODEBOOK_SIZE, CODE_DIM) * 10
    vectors = centres.repeat(20, 1) + 0.01 * torch.randn(20 * CODEBOOK_SIZE, CODE_DIM)
    care.start(codebook, maps(vectors))
    distance = torch.cdist(vectors, codebook.embedding.weight).amin(dim=1)
    # Chance begins some clusters with two codewords and leaves others without; most have one.
    assert (distance < 1).float().mean() > 0.5
    assert len(codebook.assign(maps(vectors)).unique()) > CODEBOOK_SIZE / 2


def test_codewords_move_to_the_mean_of_what_chooses_them() -> None:
    codebook, care = made(restart=False)
    target = codebook.embedding.weight[3] + 0.1
    z = maps(target.detach().repeat(64, 1))
    before = codebook.embedding.weight.detach().clone()
    steps(codebook, care, z, 200)
    assert torch.allclose(codebook.embedding.weight[3], target, atol=1e-2)
    # What nothing chooses keeps its place.
    others = [i for i in range(CODEBOOK_SIZE) if i != 3]
    assert torch.allclose(codebook.embedding.weight[others], before[others], atol=1e-4)


def test_without_running_means_codewords_stay_for_the_gradient_to_move() -> None:
    codebook, care = made(ema=False, restart=False)
    before = codebook.embedding.weight.detach().clone()
    steps(codebook, care, maps(torch.randn(64, CODE_DIM)), 20)
    assert torch.equal(codebook.embedding.weight, before)


def test_dead_codewords_begin_anew_at_vectors_of_the_batch() -> None:
    codebook, care = made()
    torch.manual_seed(1)
    kinds = 5 + torch.randn(100, CODE_DIM)
    z = maps(kinds.repeat(8, 1) + 0.1 * torch.randn(800, CODE_DIM))
    assert len(codebook.assign(z).unique()) < 20
    restarted = steps(codebook, care, z, 150)
    assert restarted > 100
    assert len(codebook.assign(z).unique()) > 80
    assert care.perplexity() > 40


def test_without_restarts_the_dead_stay_dead_and_are_counted() -> None:
    codebook, care = made(restart=False)
    z = maps(5 + torch.randn(512, CODE_DIM))
    assert steps(codebook, care, z, 100) == 0
    assert care.dead() > 100


def test_a_restart_is_the_same_for_the_same_step_and_seed() -> None:
    words = []
    for _ in range(2):
        codebook, care = made()
        torch.manual_seed(1)
        steps(codebook, care, maps(5 + torch.randn(64, CODE_DIM)), 90)
        words.append(codebook.embedding.weight.detach())
    assert torch.equal(*words)


def test_processes_that_share_a_batch_move_codewords_as_one_would() -> None:
    whole = torch.randn(64, CODE_DIM)
    codebook, care = made(restart=False)
    codes = codebook.assign(maps(whole))
    care.after_step(codebook, maps(whole), codes, 0, alone)

    parts = [maps(part) for part in whole.chunk(2)]
    shared, half = made(restart=False)
    other = [shared.assign(part) for part in parts]
    sums: list[Tensor] = []

    def collect(tensor: Tensor) -> Tensor:
        sums.append(tensor)
        return tensor

    aside, watcher = made(restart=False)
    watcher.after_step(aside, parts[1], other[1], 0, collect)
    half.after_step(shared, parts[0], other[0], 0, lambda tensor: tensor + sums.pop(0))
    assert torch.allclose(shared.embedding.weight, codebook.embedding.weight, atol=1e-5)
