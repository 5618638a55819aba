from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.models import own_networks
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from slidekin_models.cli import app
from slidekin_models.errors import ManifestError, WeightsError
from slidekin_models.networks.pixels import PixelRule
from slidekin_models.networks.synthetic import stained_pictures
from slidekin_models.runtimes.placement import Placement
from slidekin_models.runtimes.serving import load_texture
from slidekin_models.weights import imports
from slidekin_models.weights.fingerprint import fingerprint
from slidekin_models.weights.foreign import ForeignTexture
from slidekin_models.weights.imports import ForeignFacts, Kind
from slidekin_models.weights.manifest import TextureManifest, VqVaeManifest, read_yaml, write_yaml

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]


def rule(resize: str = "whole", side_px: int = own_networks.SIDE_PX) -> PixelRule:
    return PixelRule(side_px=side_px, resize=resize, mean=MEAN, std=STD)


def facts(**pixels: object) -> ForeignFacts:
    return ForeignFacts("own", "MIT", "made here", rule(**pixels))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def scaled(images: np.ndarray) -> Tensor:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return (pixels - torch.tensor(MEAN).reshape(3, 1, 1)) / torch.tensor(STD).reshape(3, 1, 1)


@pytest.fixture(scope="module")
def torchscript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("torchscript") / "own.pt"
    return own_networks.write_torchscript(path, own_networks.network())


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_networks.write_onnx(tmp_path_factory.mktemp("onnx") / "own.onnx")


def test_both_formats_give_what_the_network_gives(
    tmp_path: Path, torchscript: Path, onnx: Path
) -> None:
    images = stained_pictures(3, own_networks.SIDE_PX, seed=5)
    expected = own_networks.network()(scaled(images)).detach().numpy()
    for file, kind in ((torchscript, Kind.TORCHSCRIPT), (onnx, Kind.ONNX)):
        assert imports.recognise(file) is kind
        manifest = imports.import_foreign(file, kind, tmp_path / kind, facts())
        assert manifest == read_yaml(tmp_path / kind / "manifest.yaml", TextureManifest)
        assert (manifest.texture_bits, manifest.hamming_threshold_bits) == (64, 8)
        features = load_texture(tmp_path / kind, Placement()).encode(images)
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)


def test_a_file_exported_for_one_image_serves_many(tmp_path: Path) -> None:
    file = own_networks.write_onnx(tmp_path / "one.onnx", batch=1)
    imports.import_foreign(file, Kind.ONNX, tmp_path / "out", facts())
    images = stained_pictures(2, own_networks.SIDE_PX, seed=5)
    placement = Placement(images_per_forward=2)
    assert load_texture(tmp_path / "out", placement).encode(images).shape == (2, 64)


class Centre(nn.Module):
    """Gives back what it sees of the middle: shows which squares a patch becomes."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels[:, :, 16, 16].repeat(1, 64)[:, :64]


def test_tiles_are_the_squares_of_the_patch_and_their_vectors_are_averaged() -> None:
    plain = PixelRule(side_px=32, resize="tiles", mean=[0.0] * 3, std=[1.0] * 3)
    images = np.zeros((1, 96, 96, 3), np.uint8)
    # Nine squares, each of a grey of its own.
    images[0] = np.kron(np.arange(9).reshape(3, 3) * 20, np.ones((32, 32)))[..., None]
    vectors = ForeignTexture(Centre(), plain, 64)(torch.from_numpy(images))
    torch.testing.assert_close(vectors, torch.full((1, 64), 80 / 255))


@pytest.mark.parametrize(("resize", "edge"), [("whole", 32), ("tiles", 96)])
def test_a_patch_is_scaled_as_pillow_would(resize: str, edge: int) -> None:
    seen = []

    class Keep(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            seen.append(pixels)
            return pixels.mean(dim=(2, 3)).repeat(1, 64)[:, :64]

    plain = PixelRule(side_px=32, resize=resize, mean=[0.0] * 3, std=[1.0] * 3)
    image = stained_pictures(1, 100, seed=2)
    ForeignTexture(Keep(), plain, 64)(torch.from_numpy(image))
    expected = Image.fromarray(image[0]).resize((edge, edge), Image.Resampling.BICUBIC)
    per_edge = edge // 32
    squares = seen[0].reshape(per_edge, per_edge, 3, 32, 32)
    whole = squares.permute(0, 3, 1, 4, 2).reshape(edge, edge, 3)
    # Pillow rounds to whole numbers between its two passes.
    assert np.abs(whole.numpy() * 255 - np.asarray(expected)).max() < 2


class Broken(nn.Module):
    """A network with one fault."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def forward(self, pixels: Tensor) -> Tensor:
        vector = pixels.mean(dim=(2, 3)).repeat(1, 32)[:, :64]
        if self.fault == "numbers":
            vector = vector[:, :60]
        elif self.fault == "maps":
            vector = pixels
        elif self.fault == "nan":
            vector = vector / torch.zeros(1)
        elif self.fault == "constant":
            vector = torch.ones_like(vector)
        elif self.fault == "neighbours":
            vector = vector - vector.mean(dim=0) + vector.std(dim=1, keepdim=True)
        return vector


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("numbers", "gives 60 numbers; a texture has a multiple of 64"),
        ("maps", r"gives shape \(1, 3, 32, 32\) for 1 images; .*pooling"),
        ("nan", "not finite"),
        ("constant", "the same vector for different pictures"),
        ("neighbours", "depends on the images beside it: export it in evaluation mode"),
    ],
)
def test_a_network_that_cannot_be_a_texture_is_refused_with_the_cure(
    tmp_path: Path, fault: str, message: str
) -> None:
    file = own_networks.write_torchscript(tmp_path / "broken.pt", Broken(fault))
    with pytest.raises(WeightsError, match=rf"broken\.pt: .*{message}"):
        imports.import_foreign(file, Kind.TORCHSCRIPT, tmp_path / "out", facts())
    assert not (tmp_path / "out").exists()


def test_an_onnx_file_that_cannot_be_used_is_refused(tmp_path: Path, onnx: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(onnx.read_bytes()[:200])
    two = own_networks.write_onnx(tmp_path / "two.onnx", outputs=("vector", "maps"))
    for file, message in (
        (tmp_path / "cut.onnx", r"cut\.onnx: OpenVINO cannot use it"),
        (two, r"two\.onnx: has 1 inputs and 2 outputs"),
    ):
        with pytest.raises(WeightsError, match=message):
            imports.import_foreign(file, Kind.ONNX, tmp_path / "out", facts())
    with pytest.raises(WeightsError, match=r"own\.onnx: the network does not take 1 images"):
        imports.import_foreign(onnx, Kind.ONNX, tmp_path / "out", facts(side_px=48))


def test_a_program_is_taken_only_from_who_is_trusted(tmp_path: Path, torchscript: Path) -> None:
    command = ["import", torchscript, "--out", tmp_path / "out", "--licence", "MIT", "--side", 32]
    refused = run(*command)
    assert refused.exit_code == 2
    assert "TorchScript is a program" in refused.stderr
    assert not (tmp_path / "out").exists()
    taken = run(*command, "--allow-code", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5")
    assert taken.exit_code == 0, taken.stderr
    assert "recognised   torchscript" in taken.stdout
    assert "rgb8-1024/tiles-32/mean-0.5,0.5,0.5/std-0.5,0.5,0.5/v1" in taken.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--licence: say under which licence"),
        (["--licence", "MIT", "--side", "8"], "--side: "),
        (["--licence", "MIT", "--resize", "half"], "--resize: "),
        (["--licence", "MIT", "--mean", "1,2"], "--mean: "),
        (["--licence", "MIT", "--std", "1,1,0"], "--std: "),
    ],
)
def test_a_wrong_fact_is_named(
    tmp_path: Path, onnx: Path, options: list[str], message: str
) -> None:
    result = run("import", onnx, "--out", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_altered_network_is_never_run(tmp_path: Path, torchscript: Path) -> None:
    imports.import_foreign(torchscript, Kind.TORCHSCRIPT, tmp_path / "out", facts())
    other = own_networks.network(bits=128)
    own_networks.write_torchscript(tmp_path / "out" / "network.pt", other)
    with pytest.raises(WeightsError, match=r"network\.pt: SHA-256 is .* damaged or another one"):
        load_texture(tmp_path / "out", Placement())


def test_the_fingerprint_covers_what_the_network_is_given(
    tmp_path: Path, torchscript: Path, demo_bundle: Path
) -> None:
    vqvae = read_yaml(demo_bundle / "vqvae" / "manifest.yaml", VqVaeManifest)
    prints = set()
    for i, pixels in enumerate(({}, {"resize": "tiles"}, {"side_px": 64})):
        manifest = imports.import_foreign(
            torchscript, Kind.TORCHSCRIPT, tmp_path / str(i), facts(**pixels)
        )
        prints.add(fingerprint(vqvae, manifest))
    assert len(prints) == 3
    lying = manifest.model_copy(update={"pixels": rule()})
    write_yaml(lying, tmp_path / "lying.yaml")
    with pytest.raises(ManifestError, match="preprocessing: must be"):
        read_yaml(tmp_path / "lying.yaml", TextureManifest)
