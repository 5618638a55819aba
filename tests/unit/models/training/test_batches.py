from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slidekin_models.networks.seeded import golden_image
from slidekin_models.networks.synthetic import stained_pictures
from slidekin_models.sampling import TissueSampler
from slidekin_models.training.augment import augmented
from slidekin_models.training.batches import Batches
from slidekin_models.training.settings import TrainSettings


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    for i, picture in enumerate(stained_pictures(8, 64, seed=1)):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    return tmp_path


def made(tiles: Path, process: int = 0, **change: object) -> Batches:
    settings = TrainSettings.model_validate(
        {"slides": [tiles], "side_px": 32, "batch": 4, "held_out_share": 0.25} | change
    )
    return Batches(TissueSampler(settings.slides, settings.sampling()), settings, process)


def readers() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("patches")]


def test_a_batch_is_the_same_wherever_a_run_begins(tiles: Path) -> None:
    batches = made(tiles)
    whole = list(batches.from_step(0, 9))
    assert len(whole) == 9
    assert (whole[0].shape, whole[0].dtype) == ((4, 32, 32, 3), torch.uint8)
    late = list(made(tiles).from_step(5, 9))
    assert all(torch.equal(a, b) for a, b in zip(whole[5:], late, strict=True))
    assert not torch.equal(whole[0], whole[1])


def test_processes_see_together_what_one_would_see(tiles: Path) -> None:
    one = made(tiles, batch=8).batch(3)
    two = [made(tiles, process, processes=2).batch(3) for process in range(2)]
    assert torch.equal(one, torch.cat(two))


def test_readers_end_with_the_run_that_stops_early(tiles: Path) -> None:
    batches = made(tiles).from_step(0, 1000)
    next(batches)
    assert readers()
    batches.close()
    assert not readers()


def test_held_out_patches_come_as_they_are(tiles: Path) -> None:
    held = torch.cat(list(made(tiles).held_out(10)))
    assert held.shape == (10, 32, 32, 3)
    plain = made(tiles, augment=False)
    assert torch.equal(held, torch.cat(list(plain.held_out(10))))
    assert not torch.equal(made(tiles).batch(0), plain.batch(0))


def test_a_view_is_a_flip_or_a_quarter_turn() -> None:
    patch = golden_image(32)
    rng = np.random.default_rng(0)
    views = {augmented(patch, rng, 0.0).tobytes() for _ in range(200)}
    expected = {
        np.rot90(side, turns).tobytes() for side in (patch, patch[:, ::-1]) for turns in range(4)
    }
    assert views == expected


def test_stains_change_in_strength_and_glass_stays_glass() -> None:
    rng = np.random.default_rng(0)
    glass = np.full((16, 16, 3), 250, np.uint8)
    tissue = np.full((16, 16, 3), (150, 80, 160), np.uint8)
    means = np.array([augmented(tissue, rng, 0.2).mean(axis=(0, 1)) for _ in range(100)])
    assert (means.std(axis=0) > 3).all()
    assert (np.abs(means - (150, 80, 160)) < 45).all()
    assert all(np.abs(augmented(glass, rng, 0.2).astype(int) - 250).max() <= 3 for _ in range(50))
