"""Every runtime gives what the network gives; only what the gate accepted is served."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tests.verdicts import accept
from torch import nn

from slidekin_models.errors import PlacementError, UnjudgedRuntimeError
from slidekin_models.networks.halves import Halves, halves_of_texture, halves_of_vqvae
from slidekin_models.networks.seeded import seeded_tensors
from slidekin_models.networks.synthetic import stained_pictures
from slidekin_models.networks.textures import texture_architecture
from slidekin_models.networks.vqvae import VqVae
from slidekin_models.runtimes.choice import Machine, choose_runtime
from slidekin_models.runtimes.export import export_onnx
from slidekin_models.runtimes.folding import fold_batch_norm
from slidekin_models.runtimes.placement import RUNTIMES, Placement
from slidekin_models.runtimes.serving import PatchEncoder, load_texture
from slidekin_models.weights.manifest import MANIFEST_NAME, TextureManifest, read_yaml, write_yaml

ON_CPU = sorted(set(RUNTIMES) - {"torch-cudagraphs"})
IMAGES = stained_pictures(3, 64, seed=5)


class SmallTrunk(nn.Module):
    """One of each: a BatchNorm that can be folded, and one that cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 4, 2, 1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 16, 4, 2, 1),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images.permute(0, 3, 1, 2).float() / 255)


class Watched(nn.Module):
    """Notes what the judgement is given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[torch.dtype] = []

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        self.given.append(maps.dtype)
        return maps.mean(dim=(2, 3))


def seeded(network: nn.Module) -> nn.Module:
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    network.load_state_dict(seeded_tensors(shapes))
    return network.eval()


def small() -> tuple[Halves, Watched]:
    watched = Watched()
    return Halves(seeded(SmallTrunk()), watched), watched


# torch's compiler itself uses what torch calls deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("runtime", ON_CPU)
def test_every_runtime_gives_the_networks_answer(runtime: str) -> None:
    if runtime == "torch-compile" and shutil.which("g++") is None:
        pytest.skip("torch-compile needs a C++ compiler, and there is no g++")
    expected = PatchEncoder(small()[0], Placement()).encode(IMAGES)
    found = PatchEncoder(small()[0], Placement(runtime=runtime)).encode(IMAGES)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("runtime", "precision"),
    [("openvino", "bf16"), ("torch", "bf16"), ("torch-folded", "bf16"), ("torch", "fp16")],
)
def test_fewer_digits_are_near_and_judged_in_fp32(runtime: str, precision: str) -> None:
    expected = PatchEncoder(small()[0], Placement()).encode(IMAGES)
    halves, watched = small()
    placement = Placement(runtime=runtime, precision=precision)
    found = PatchEncoder(halves, placement).encode(IMAGES)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
    if runtime.startswith("torch"):
        assert (found != expected).any(), "nothing was computed in fewer digits"
    assert set(watched.given) == {torch.float32}


def test_openvino_gives_the_vqvaes_codes() -> None:
    network = seeded(VqVae())
    expected = PatchEncoder(halves_of_vqvae(network), Placement()).encode(IMAGES)
    openvino = PatchEncoder(halves_of_vqvae(network), Placement(runtime="openvino"))
    assert (openvino.encode(IMAGES) == expected).mean() > 0.99
    bf16 = PatchEncoder(halves_of_vqvae(network), Placement(runtime="openvino", precision="bf16"))
    assert (bf16.encode(IMAGES) == expected).mean() > 0.9


@pytest.mark.parametrize(("name", "left"), [("densenet121", 62), ("efficientnet-lite0", 0)])
def test_a_batchnorm_behind_a_convolution_is_folded_into_it(name: str, left: int) -> None:
    network = seeded(texture_architecture(name).build())
    trunk = halves_of_texture(network).trunk
    images = torch.from_numpy(IMAGES)
    with torch.inference_mode():
        expected = trunk(images)
        folded = fold_batch_norm(trunk)
        found = folded(images)
    norms = [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == left
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "openvino", "precision": "fp16"}, "not served by the runtime openvino"),
        ({"runtime": "openvino", "device": "cuda:0"}, "openvino runs on the CPU"),
        ({"runtime": "torch-cudagraphs"}, "torch-cudagraphs runs on a GPU"),
    ],
)
def test_a_runtime_is_refused_where_it_cannot_run(options: dict[str, str], message: str) -> None:
    with pytest.raises(PlacementError, match=message):
        Placement(**options)


@pytest.fixture
def model(lite0: Path, tmp_path: Path) -> Path:
    """A texture network of which the gate has found nothing yet."""
    copy = tmp_path / "texture"
    shutil.copytree(lite0, copy)
    manifest = read_yaml(copy / MANIFEST_NAME, TextureManifest)
    write_yaml(manifest.model_copy(update={"runtimes": []}), copy / MANIFEST_NAME)
    return copy


def test_the_packaged_network_brings_its_verdicts_along(lite0: Path) -> None:
    assert choose_runtime(lite0, MODERN) == ("openvino", "fp32")
    with pytest.raises(UnjudgedRuntimeError):
        choose_runtime(lite0, MODERN, runtime="openvino", precision="bf16")


def test_only_what_was_accepted_for_these_weights_is_loaded(model: Path) -> None:
    wanted = Placement(runtime="torch", precision="bf16")
    with pytest.raises(UnjudgedRuntimeError, match=rf"models gate {model} .* --precision bf16"):
        load_texture(model, wanted)
    accept(model, "torch", "bf16", accepted=False)
    with pytest.raises(UnjudgedRuntimeError):
        load_texture(model, wanted)
    load_texture(model, wanted, unjudged=True)
    accept(model, "torch", "bf16")
    load_texture(model, wanted)


def test_a_verdict_on_other_weights_counts_for_nothing(model: Path) -> None:
    accept(model, "torch", "bf16")
    manifest = model / "manifest.yaml"
    text = manifest.read_text(encoding="utf-8")
    head, _, verdicts = text.rpartition("weights_sha256: ")
    manifest.write_text(f"{head}weights_sha256: {'a' * 64}\n", encoding="utf-8")
    assert verdicts, "the verdict names the weights it is about"
    with pytest.raises(UnjudgedRuntimeError):
        load_texture(model, Placement(runtime="torch", precision="bf16"))


def test_the_exported_files_give_the_networks_answers(lite0: Path, tmp_path: Path) -> None:
    done = export_onnx(lite0, tmp_path / "onnx")
    assert done.equal == 1
    assert done.maps_shape == (1280, 32, 32)
    trunk = onnx.load(done.trunk)
    (pixels,) = trunk.graph.input
    sizes = [size.dim_param or size.dim_value for size in pixels.type.tensor_type.shape.dim]
    assert sizes == ["n", 1024, 1024, 3], "any number of patches"
    (features,) = onnx.load(done.judgement).graph.output
    assert (features.name, features.type.tensor_type.elem_type) == (
        "TEXTURE_FEATURES",
        onnx.TensorProto.FLOAT,
    )


MODERN = Machine(device="cpu", multiplies_bf16=True, has_openvino=True)
OLDER = Machine(device="cpu", multiplies_bf16=False, has_openvino=True)
BARE = Machine(device="cpu", multiplies_bf16=True, has_openvino=False)
GPU = Machine(device="cuda", multiplies_bf16=True, has_openvino=True)


@pytest.mark.parametrize(
    ("machine", "wanted", "chosen"),
    [
        (MODERN, {}, ("openvino", "bf16")),
        (OLDER, {}, ("openvino", "fp32")),
        (BARE, {}, ("torch", "fp32")),
        # Judged on a CPU: that says nothing of a GPU.
        (GPU, {}, ("torch", "fp32")),
        (MODERN, {"precision": "fp32"}, ("openvino", "fp32")),
        (MODERN, {"runtime": "torch"}, ("torch", "fp32")),
        (OLDER, {"runtime": "openvino", "precision": "bf16"}, ("openvino", "bf16")),
    ],
)
def test_the_fastest_accepted_runtime_of_the_machine_is_chosen(
    model: Path,
    machine: Machine,
    wanted: dict[str, str],
    chosen: tuple[str, str],
) -> None:
    assert choose_runtime(model, machine) == ("torch", "fp32")
    accept(model, "openvino", "fp32")
    accept(model, "openvino", "bf16")
    accept(model, "torch-folded", "bf16", accepted=False)
    assert choose_runtime(model, machine, **wanted) == chosen


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"precision": "bf16"}, "--precision bf16 was not accepted"),
        ({"runtime": "openvino", "precision": "fp32"}, "models gate .* --runtime openvino"),
    ],
)
def test_what_was_asked_for_and_not_accepted_is_refused_with_the_cure(
    model: Path, wanted: dict[str, str], message: str
) -> None:
    with pytest.raises(UnjudgedRuntimeError, match=message):
        choose_runtime(model, MODERN, **wanted)


@pytest.mark.parametrize("wanted", [{"runtime": "abacus"}, {"precision": "int4"}])
def test_what_does_not_exist_is_refused_by_name(model: Path, wanted: dict[str, str]) -> None:
    with pytest.raises(PlacementError, match="is not served; known are auto"):
        choose_runtime(model, MODERN, **wanted)
