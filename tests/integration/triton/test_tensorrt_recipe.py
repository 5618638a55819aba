"""What is generated for TensorRT is well-formed. No plan is built: that takes a GPU."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from google.protobuf import text_format
from tests.paths import PROJECT
from tests.triton_stack import triton_python
from tritonclient.grpc import model_config_pb2

from slidekin_models.bundles.bundle import read_bundle
from slidekin_models.runtimes.export import export_onnx

RECIPE = PROJECT / "deploy" / "triton" / "tensorrt" / "recipe.py"


def run(bundle: Path, onnx: Path, out: Path) -> subprocess.CompletedProcess[str]:
    options = [f"--bundle={bundle}", f"--onnx={onnx}", f"--out={out}"]
    return subprocess.run(
        [triton_python(), RECIPE, *options], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture(scope="module")
def onnx(demo_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The folder of the exported files, and the shapes of their maps."""
    folder = tmp_path_factory.mktemp("onnx")
    shapes = {
        network: export_onnx(demo_bundle / network, folder / network).maps_shape
        for network in ("vqvae", "texture")
    }
    return {"folder": folder, **shapes}


def test_the_repository_and_the_script_fit_the_exported_networks(
    demo_bundle: Path, onnx: dict, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run(demo_bundle, onnx["folder"], out)
    assert done.returncode == 0, done.stderr
    suffix = f"-{read_bundle(demo_bundle).fingerprint[:12]}"
    configs = {
        path.parent.name.removesuffix(suffix): text_format.Parse(
            path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig()
        )
        for path in (out / "model_repository").glob("*/config.pbtxt")
    }
    for name, config in configs.items():
        assert config.name in (name, f"{name}{suffix}")
        for step in config.ensemble_scheduling.step:
            assert step.model_name.removesuffix(suffix) in configs
    script = (out / "build.sh").read_text(encoding="utf-8")
    assert subprocess.run(["sh", "-n", out / "build.sh"], check=False).returncode == 0
    for network in ("vqvae", "texture"):
        trunk, judgement = (configs[f"{network}_{half}"] for half in ("trunk", "judgement"))
        assert tuple(trunk.output[0].dims) == onnx[network]
        assert tuple(judgement.input[0].dims) == onnx[network]
        assert trunk.output[0].data_type == model_config_pb2.TYPE_FP32
        for half in ("trunk", "judgement"):
            (command,) = re.findall(
                rf"^trtexec --onnx={network}_{half}.onnx .*$", script, re.MULTILINE
            )
            plan = re.search(r"--saveEngine=(\S+)", command)[1]
            assert (out / plan).parent.is_dir()
            assert (out / f"{network}_{half}.onnx").is_file()
            # The judgement is never built in fewer digits.
            assert ("--fp16" in command) == (half == "trunk")
    for ensemble in ("patch_encoder", "patch_encoder_raw"):
        said = configs[ensemble].parameters
        assert said["vqvae_precision"].string_value == "fp16"
        assert said["texture_runtime"].string_value == "tensorrt"
    assert not re.search("queue_policy", "".join(map(str, configs.values())))


def test_missing_files_are_named_with_the_cure(demo_bundle: Path, tmp_path: Path) -> None:
    done = run(demo_bundle, tmp_path / "nowhere", tmp_path / "out")
    assert done.returncode == 1
    assert "models export" in done.stderr
    assert not (tmp_path / "out").exists()
