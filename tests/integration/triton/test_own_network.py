"""The worked example of docs/models.md, run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import yaml
from PIL import Image
from tests.paths import PROJECT
from tests.triton_stack import running_triton

from slidekin_models.bundles.bundle import build_bundle, read_bundle
from slidekin_models.networks.synthetic import stained_pictures
from slidekin_models.weights.manifest import TextureManifest, read_yaml

# Seven commands, each of which loads torch.
pytestmark = pytest.mark.timeout(900)

SECTION = "## A texture network of your own"
SERVE = "slidekin up --bundle bundle\n"


def blocks() -> list[tuple[str, str]]:
    """Language and text of the example's code blocks."""
    page = (PROJECT / "docs" / "models.md").read_text(encoding="utf-8")
    section = page.partition(f"{SECTION}\n")[2].partition("\n## ")[0]
    return re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)


def run(command: list[str], folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a reader has followed the example up to serving."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "tissue").mkdir()
    for i, picture in enumerate(stained_pictures(20, 128, seed=4)):
        Image.fromarray(picture).save(folder / "tissue" / f"{i}.png")
    *preparation, (kind, last) = blocks()
    assert (kind, last.endswith(SERVE)) == ("sh", True)
    for language, text in [*preparation, (kind, last.removesuffix(SERVE))]:
        name = text.partition("\n")[0].removeprefix("# ")
        if language == "sh":
            run(["bash", "-e", "-c", text], folder)
            continue
        (folder / name).write_text(text, encoding="utf-8")
        if language == "python":
            run([sys.executable, name], folder)
    return folder


def test_both_formats_are_the_same_network(worked: Path) -> None:
    onnx, torchscript = (
        read_yaml(worked / name / "manifest.yaml", TextureManifest)
        for name in ("own", "own-torchscript")
    )
    assert (onnx.architecture, torchscript.architecture) == ("onnx", "torchscript")
    assert onnx.texture_bits == torchscript.texture_bits == 128
    assert onnx.preprocessing == torchscript.preprocessing
    assert "20 tiles" in onnx.threshold_note
    assert "# own-network" in (worked / "bundle" / "texture" / "CARD.md").read_text("utf-8")


def test_triton_serves_both_side_by_side(worked: Path, tmp_path: Path) -> None:
    choice = yaml.safe_load((worked / "models.yaml").read_text(encoding="utf-8"))
    # The same VQ-VAE as in the first bundle, so that the second is soon built.
    choice["vqvae"] = {"manifest": str(worked / "bundle" / "vqvae" / "manifest.yaml")}
    choice["texture"] = {"manifest": str(worked / "own-torchscript" / "manifest.yaml")}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(choice), encoding="utf-8")
    build_bundle(tmp_path / "models.yaml", tmp_path / "bundle")
    # Without a choice of ours the launcher takes what was accepted: here, torch in fp32.
    options = (f"--bundle={tmp_path / 'bundle'}", "--runtime=auto", "--precision=auto")
    with (
        running_triton(worked / "bundle", tmp_path / "run", *options) as triton,
        triton_grpc.InferenceServerClient(triton.grpc_url) as client,
    ):
        for bundle in triton.bundles:
            said = read_bundle(bundle)
            data = (bundle / said.canary.image).read_bytes()
            image = triton_grpc.InferInput("IMAGE", [1, 1], "BYTES")
            image.set_data_from_numpy(np.array([[data]], dtype=object))
            model = f"{said.triton.encoder_model}-{said.fingerprint[:12]}"
            features = client.infer(model, [image]).as_numpy("TEXTURE_FEATURES")[0]
            expected = np.load(bundle / said.canary.texture_features)
            assert features.shape == (128,)
            np.testing.assert_allclose(features, expected, atol=1e-5)
        assert len(triton.bundles) == 2
