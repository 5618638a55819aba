"""Runs of a few steps with the full network, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from typer.testing import CliRunner

from slidekin_models.cli import app
from slidekin_models.errors import TrainingError
from slidekin_models.networks.synthetic import stained_pictures
from slidekin_models.sampling import TissueSampler
from slidekin_models.training.checkpoints import RunFolder
from slidekin_models.training.display import progress_line
from slidekin_models.training.run import Limits, Progress, Training
from slidekin_models.training.settings import TrainSettings


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiles")
    for i, picture in enumerate(stained_pictures(8, 64, seed=1)):
        Image.fromarray(picture).save(folder / f"{i}.png")
    return folder


def begun(folder: RunFolder, tiles: Path, **change: object) -> Training:
    settings = TrainSettings.model_validate(
        {"slides": [tiles], "side_px": 64, "batch": 4, "held_out_share": 0.25, "steps": 40} | change
    )
    sampler = TissueSampler(settings.slides, settings.sampling())
    return Training(settings, folder, sampler, Accelerator(cpu=True, mixed_precision="bf16"))


def made_folder(path: Path) -> RunFolder:
    folder = RunFolder(path)
    folder.path.mkdir(parents=True)
    return folder


def test_a_tiny_set_is_learned_with_many_codes(tiles: Path, tmp_path: Path) -> None:
    folder = made_folder(tmp_path / "out")
    # How soon codes come into use differs between processors, whose bf16 rounds differently.
    training = begun(folder, tiles, steps=60)
    seen: list[Progress] = []
    assert training.run(Limits(check_every=20, check_patches=8), seen.append)
    lines = folder.metrics()
    losses = [line["recon_loss"] for line in lines if "recon_loss" in line]
    assert losses[-1] < 0.5 * losses[0]
    assert training.held_out(16).perplexity > 8
    assert [line["step"] for line in lines if "held_out_perplexity" in line] == [20, 40, 60]
    assert [progress.step for progress in seen] == [10, 20, 30, 40, 50, 60]
    assert seen[-1].seconds_left == 0
    assert training.step == 60


def test_a_run_stops_when_asked_and_keeps_what_it_has(tiles: Path, tmp_path: Path) -> None:
    folder = made_folder(tmp_path / "out")
    training = begun(folder, tiles)
    asked = iter([False, False, True])
    assert not training.run(Limits(stop_asked=lambda: next(asked)), lambda _: None)
    assert training.step == 3
    assert (folder.newest() or (0, None))[0] == 3


def test_a_damaged_checkpoint_is_named(tiles: Path, tmp_path: Path) -> None:
    folder = made_folder(tmp_path / "out")
    folder.write(5, lambda part: (part / "model.safetensors").write_bytes(b"no") and None)
    with pytest.raises(TrainingError, match="checkpoint-00000005: the checkpoint cannot be read"):
        begun(folder, tiles).resume()


def test_a_loss_that_is_no_number_ends_the_run(tiles: Path, tmp_path: Path) -> None:
    training = begun(made_folder(tmp_path / "out"), tiles, data_init=False)
    with torch.no_grad():
        training.network.encoder[0].weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="smaller --learning-rate"):
        training.run(Limits(), lambda _: None)


def test_progress_is_one_line_with_all_that_matters() -> None:
    line = progress_line(Progress(20, 4000, 0.1234, 61.26, 3, 3725.0))
    assert line == "step 20/4000  loss 0.1234  perplexity 61.3 of 128  dead 3  left 1:02:05"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--side", "100"], "side_px: 100 is not a positive multiple of 16"),
        (["--slide-mpp", "scan.svs"], "'scan.svs' is not NAME=MPP"),
        (["--slides", "nowhere"], "nowhere: there is no such file or folder"),
        (["--tile-mpp", "264"], "tile_mpp: 264"),
    ],
)
def test_a_wrong_option_is_named_in_one_line(
    tiles: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    out = tmp_path / "out"
    command = ["train", "--slides", str(tiles), "--out", str(out), "--cpu", *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.strip().count("\n") == 0
