"""A real Triton serves each network by the runtime that the gate has accepted, and says which."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from google.protobuf import text_format
from tests.triton_stack import LAUNCHER, running_triton, start_launcher, triton_python
from tests.verdicts import accept
from tritonclient.grpc import model_config_pb2

from slidekin_models.bundles.bundle import read_bundle


@pytest.fixture
def judged_bundle(demo_bundle: Path, tmp_path: Path) -> Path:
    """The demo's pair; the gate took OpenVINO in bf16 for the one, in fp32 for the other."""
    bundle = tmp_path / "bundle"
    shutil.copytree(demo_bundle, bundle)
    accept(bundle / "vqvae", "openvino", "bf16")
    accept(bundle / "texture", "openvino", "fp32")
    return bundle


def test_the_accepted_runtimes_serve_and_the_state_says_which(
    judged_bundle: Path, tmp_path: Path
) -> None:
    options = ("--runtime=auto", "--precision=auto")
    with running_triton(judged_bundle, tmp_path / "run", *options) as triton:
        state = json.loads((triton.run_dir / "state.json").read_text(encoding="utf-8"))
        (said,) = state["bundles"]
        with triton_grpc.InferenceServerClient(triton.grpc_url) as client:
            for network in ("vqvae", "texture"):
                config = client.get_model_config(triton.model(network)).config
                served = " ".join(
                    config.parameters[key].string_value for key in ("runtime", "precision")
                )
                assert said["runtimes"][network] == served
            bundle = read_bundle(judged_bundle)
            image = triton_grpc.InferInput("IMAGE", [1, 1], "BYTES")
            data = (judged_bundle / bundle.canary.image).read_bytes()
            image.set_data_from_numpy(np.array([[data]], dtype=object))
            answer = client.infer(triton.model("patch_encoder"), [image])
    # Whatever this processor multiplies: the codes are near, the texture is that of fp32.
    codes = np.load(judged_bundle / bundle.canary.codes)
    assert (answer.as_numpy("CODES")[0] == codes).mean() > 0.9
    features = np.load(judged_bundle / bundle.canary.texture_features)
    np.testing.assert_allclose(answer.as_numpy("TEXTURE_FEATURES")[0], features, atol=1e-3)


def test_a_runtime_that_was_not_accepted_is_refused_with_the_cure(
    judged_bundle: Path, tmp_path: Path
) -> None:
    options = ("--runtime=openvino", "--precision=bf16")
    with start_launcher(judged_bundle, tmp_path / "run", *options) as launcher:
        _, errors = launcher.communicate(timeout=60)
    assert launcher.returncode == 1
    assert "--runtime openvino --precision bf16 was not accepted" in errors
    assert "slidekin-server models gate" in errors
    assert str(judged_bundle / "texture") in errors


def test_the_configurations_are_triton_model_configurations(
    judged_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "repository"
    command = [str(triton_python()), str(LAUNCHER), "render", f"--bundle={judged_bundle}"]
    options = [f"--out={out}", "--device=cpu", "--precision=fp32"]
    subprocess.run([*command, *options], check=True, timeout=60)
    found = {
        path.parent.name: text_format.Parse(
            path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig()
        )
        for path in out.glob("*/config.pbtxt")
    }
    said = {name.partition("-")[0]: config.parameters for name, config in found.items()}
    assert said["vqvae"]["runtime"].string_value == "torch"
    assert said["texture"]["runtime"].string_value == "openvino"
    for ensemble in ("patch_encoder", "patch_encoder_raw"):
        assert said[ensemble]["vqvae_runtime"].string_value == "torch"
        assert said[ensemble]["texture_precision"].string_value == "fp32"
