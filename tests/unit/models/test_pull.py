from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.unit.models import torchvision_densenet
from tests.unit.models.file_server import Behaviour, serving
from typer.testing import CliRunner, Result

from slidekin_models.cli import app
from slidekin_models.networks.seeded import seeded_tensors
from slidekin_models.weights import pull
from slidekin_models.weights.download import PublishedFile
from slidekin_models.weights.files import sha256_of
from slidekin_models.weights.manifest import TextureManifest, read_yaml


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["pull", *map(str, arguments)])


def test_the_address_is_torchvisions_own() -> None:
    assert (
        PublishedFile(
            name="densenet121-a639ec97.pth",
            url="https://download.pytorch.org/models/densenet121-a639ec97.pth",
            sha256_prefix="a639ec97",
        )
        == pull.DENSENET121
    )


def test_a_pulled_network_is_a_model_directory_and_leaves_no_file_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(seeded_tensors(torchvision_densenet.parameter_shapes()), tmp_path / "made.pth")
    # The published file is not here; one of the same layout stands in, under its own digest.
    digest = sha256_of(tmp_path / "made.pth")
    made = PublishedFile("densenet121-a639ec97.pth", pull.DENSENET121.url, digest[:8])
    monkeypatch.setattr(pull, "DENSENET121", made)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    out = tmp_path / "pulled" / "densenet121"
    with serving(Behaviour((tmp_path / "made.pth").read_bytes(), cut_after=[5_000_000])) as base:
        done = run("densenet121", "--out", out, "--url", f"{base}/densenet121-a639ec97.pth")
    assert done.exit_code == 0, done.stderr
    assert read_yaml(out / "manifest.yaml", TextureManifest).architecture == "densenet121"
    assert list(out.parent.iterdir()) == [out]


def test_efficientnet_lite0_comes_from_its_package(tmp_path: Path) -> None:
    done = run("efficientnet-lite0", "--out", tmp_path / "lite0")
    assert done.exit_code == 0, done.stderr
    assert "1280 bits, theta 223" in done.stdout
    again = run("efficientnet-lite0", "--out", tmp_path / "lite0")
    assert again.exit_code == 2
    assert "holds something already" in again.stderr


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    done = run("resnet50", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "known are densenet121, efficientnet-lite0" in done.stderr
