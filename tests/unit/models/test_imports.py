from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.models import torchvision_densenet as published
from torch import Tensor
from typer.testing import CliRunner, Result

from slidekin_models.cli import app
from slidekin_models.errors import ManifestError, WeightsError
from slidekin_models.networks.seeded import golden_image, seeded_tensors
from slidekin_models.networks.vqvae import VqVae
from slidekin_models.runtimes.placement import Placement
from slidekin_models.runtimes.serving import load_texture
from slidekin_models.weights import directories, imports
from slidekin_models.weights.imports import Kind
from slidekin_models.weights.manifest import TextureManifest, VqVaeManifest, read_yaml


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def torchvision_file(path: Path, *, old_names: bool = True) -> dict[str, Tensor]:
    tensors = seeded_tensors(published.parameter_shapes())
    names = (lambda name: name) if old_names else published.modern
    torch.save({names(name): tensor for name, tensor in tensors.items()}, path)
    return tensors


def test_the_written_out_densenet_is_the_published_one() -> None:
    shapes = published.parameter_shapes()
    trained = {n: s for n, s in shapes.items() if not n.endswith(("running_mean", "running_var"))}
    # The number of parameters that torchvision's documentation states.
    assert sum(math.prod(shape) for shape in trained.values()) == 7_978_856
    assert shapes["classifier.weight"] == (1000, 1024)


@pytest.mark.parametrize("old_names", [True, False], ids=["as published", "as in the network"])
def test_torchvisions_densenet_computes_the_same_under_our_names(
    tmp_path: Path, *, old_names: bool
) -> None:
    tensors = torchvision_file(tmp_path / "densenet.pth", old_names=old_names)
    manifest = directories.import_densenet121(tmp_path / "densenet.pth", tmp_path / "out")
    assert (manifest.texture_bits, manifest.hamming_threshold_bits) == (1024, 128)
    image = golden_image(96)
    ours = load_texture(tmp_path / "out", Placement()).encode(image[None])
    mean = torch.tensor([0.485, 0.456, 0.406])
    std = torch.tensor([0.229, 0.224, 0.225])
    pixels = ((torch.from_numpy(image) / 255 - mean) / std).permute(2, 0, 1)[None]
    theirs = published.features(tensors, pixels).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_densenet_that_torchvision_did_not_publish_is_named_as_such(tmp_path: Path) -> None:
    torchvision_file(tmp_path / "mine.pth")
    manifest = directories.import_densenet121(tmp_path / "mine.pth", tmp_path / "out")
    assert "not the file torchvision publishes" in manifest.source
    assert manifest.licence == "not stated"


def test_published_files_are_recognised_by_their_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torchvision_file(tmp_path / "one")
    vqvae = {f"module.{n}": t for n, t in VqVae().state_dict().items()}
    torch.save({"model": vqvae, "epoch": 9}, tmp_path / "two")
    for name, kind in (("one", Kind.DENSENET121), ("two", Kind.SISH_VQVAE)):
        assert imports.recognise(tmp_path / name) is kind
    done = run("import", tmp_path / "two", "--out", tmp_path / "vqvae")
    assert done.exit_code == 0, done.stderr
    assert "recognised   sish-vqvae" in done.stdout
    assert read_yaml(tmp_path / "vqvae" / "manifest.yaml", VqVaeManifest).name == "vqvae-sish"
    done = run("import", tmp_path / "one")
    assert "recognised   densenet121" in done.stdout
    assert (
        read_yaml(tmp_path / "densenet121" / "manifest.yaml", TextureManifest).texture_bits == 1024
    )


def test_what_cannot_be_imported_is_refused_with_a_way_on(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth: a PyTorch checkpoint of no network.*ONNX"):
        imports.recognise(tmp_path / "other.pth")
    (tmp_path / "text.pt").write_text("weights", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"text\.pt: neither a PyTorch file nor ONNX"):
        imports.recognise(tmp_path / "text.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "other.pth").read_bytes()[:600])
    with pytest.raises(WeightsError, match=r"cut\.pt: damaged or cut short"):
        imports.recognise(tmp_path / "cut.pt")
    with pytest.raises(WeightsError, match=r"none\.pt: cannot be read"):
        imports.recognise(tmp_path / "none.pt")


def test_a_model_is_never_written_over_another(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine", encoding="utf-8")
    torchvision_file(tmp_path / "one.pth")
    with pytest.raises(ManifestError, match="holds something already"):
        directories.import_densenet121(tmp_path / "one.pth", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.pth", "out"]
