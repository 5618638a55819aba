"""A real Triton gives codes and textures, and refuses what is no patch."""

from __future__ import annotations

import io
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton_grpc
from PIL import Image
from tests.deploy.queries import TRITON
from tests.triton_stack import TritonState
from tritonclient.utils import InferenceServerException

from slidekin_models.bundles.bundle import read_bundle
from slidekin_models.networks.seeded import golden_image


def ask(
    client: triton_grpc.InferenceServerClient, model: str, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    raw = model.startswith("patch_encoder_raw")
    tensor = triton_grpc.InferInput(
        "PIXELS" if raw else "IMAGE", list(value.shape), "UINT8" if raw else "BYTES"
    )
    tensor.set_data_from_numpy(value)
    answer = client.infer(model, [tensor])
    return answer.as_numpy("CODES"), answer.as_numpy("TEXTURE_FEATURES")


def of_bytes(data: bytes) -> np.ndarray:
    return np.array([[data]], dtype=object)


def png(side_px: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side_px, side_px), (230, 180, 200)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def client(triton: TritonState) -> triton_grpc.InferenceServerClient:
    with triton_grpc.InferenceServerClient(triton.grpc_url) as client:
        yield client


def test_the_canary_comes_back_as_the_bundle_says(
    client: triton_grpc.InferenceServerClient, triton: TritonState
) -> None:
    bundle = read_bundle(triton.bundle)
    assert triton.fingerprint == bundle.fingerprint
    data = (triton.bundle / bundle.canary.image).read_bytes()
    codes, features = ask(client, triton.model(bundle.triton.encoder_model), of_bytes(data))
    np.testing.assert_array_equal(codes[0], np.load(triton.bundle / bundle.canary.codes))
    expected = np.load(triton.bundle / bundle.canary.texture_features)
    np.testing.assert_allclose(features[0], expected, atol=1e-5)


def test_golden_codes_and_textures_come_back(golden: Path, golden_triton: TritonState) -> None:
    with triton_grpc.InferenceServerClient(golden_triton.grpc_url) as client:
        codes, features = ask(
            client, golden_triton.model("patch_encoder_raw"), golden_image(1024)[None]
        )
    np.testing.assert_array_equal(codes[0], np.load(golden / "vqvae.npz")["codes_1024"])
    expected = np.load(golden / "densenet121.npz")
    np.testing.assert_allclose(features[0], expected["features"], atol=1e-5)
    rises = np.concatenate([[False], features[0][1:] >= features[0][:-1]])
    np.testing.assert_array_equal(np.packbits(rises), expected["texture"])
    assert read_bundle(golden_triton.bundle).hamming_threshold_bits == 128


def test_a_patch_seen_before_is_answered_from_the_cache(golden_triton: TritonState) -> None:
    pixels = golden_image(1024)[None]
    with triton_grpc.InferenceServerClient(golden_triton.grpc_url) as client:
        codes, features = ask(client, golden_triton.model("patch_encoder_raw"), pixels)
        names = [golden_triton.model(network) for network in ("vqvae", "texture")]
        before = {model: statistics(client, model) for model in names}
        again = ask(client, golden_triton.model("patch_encoder_raw"), pixels)
        for model, counts in before.items():
            assert statistics(client, model)[1] == counts[1], f"{model} computed it again"
    np.testing.assert_array_equal(again[0], codes)
    np.testing.assert_array_equal(again[1], features)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"no image", "not a JPEG or PNG image"),
        (b"", "no bytes"),
        (png(1), "1 x 1 px; at least 64"),
        (png(1024)[:-300], "truncated or damaged"),
    ],
    ids=["text", "empty", "1px", "truncated"],
)
def test_a_bad_image_is_refused_with_its_cause(
    client: triton_grpc.InferenceServerClient, triton: TritonState, data: bytes, cause: str
) -> None:
    with pytest.raises(InferenceServerException, match=f"image refused: {cause}") as raised:
        ask(client, triton.model("patch_encoder"), of_bytes(data))
    assert raised.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_bad_image_fails_alone_and_requests_are_batched(
    client: triton_grpc.InferenceServerClient, triton: TritonState
) -> None:
    networks = [triton.model(network) for network in ("vqvae", "texture")]
    before = {model: statistics(client, model) for model in networks}
    files = [png(1024), b"no image", png(512), png(1024)[:-300], png(2048), png(1024)]

    def answer(data: bytes) -> str:
        try:
            codes, features = ask(client, triton.model("patch_encoder"), of_bytes(data))
        except InferenceServerException as error:
            return "refused" if "image refused" in str(error) else str(error)
        return f"{codes.shape} {features.shape}"

    with ThreadPoolExecutor(len(files)) as pool:
        answers = list(pool.map(answer, files))
    good = "(1, 64, 64) (1, 1280)"
    assert answers == [good, "refused", good, "refused", good, good]
    for model in networks:
        inferences, executions = np.subtract(statistics(client, model), before[model])
        assert inferences == 4
        assert executions < inferences, f"{model} took its requests one by one"


def statistics(client: triton_grpc.InferenceServerClient, model: str) -> tuple[int, int]:
    found = client.get_inference_statistics(model).model_stats[0]
    return found.inference_count, found.execution_count


def test_a_tensor_of_another_shape_is_refused(
    client: triton_grpc.InferenceServerClient, triton: TritonState
) -> None:
    with pytest.raises(InferenceServerException, match="unexpected shape"):
        ask(client, triton.model("patch_encoder_raw"), np.zeros((1, 512, 512, 3), np.uint8))


def test_memory_repository_and_settings_are_closed(
    client: triton_grpc.InferenceServerClient, triton: TritonState
) -> None:
    calls = [
        lambda: client.register_system_shared_memory("a", "/a", 8),
        client.get_system_shared_memory_status,
        client.get_cuda_shared_memory_status,
        client.get_model_repository_index,
        lambda: client.unload_model(triton.model("vqvae")),
        client.get_trace_settings,
        client.get_log_settings,
    ]
    for call in calls:
        with pytest.raises(InferenceServerException, match="restricted"):
            call()
    for path in ("/v2/systemsharedmemory/status", "/v2/trace/setting", "/v2/logging"):
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(triton.http_url + path, timeout=10)
        assert raised.value.code == 403
        raised.value.close()
    for path in ("repository/index", f"repository/models/{triton.model('vqvae')}/unload"):
        request = urllib.request.Request(f"{triton.http_url}/v2/{path}", b"{}", method="POST")
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request, timeout=10)
        assert raised.value.code == 403
        raised.value.close()


def test_it_listens_on_loopback_alone(triton: TritonState) -> None:
    listening = [
        connection.laddr.ip.removeprefix("::ffff:")
        for connection in psutil.Process(triton.triton_pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3, "gRPC, HTTP, metrics"
    assert set(listening) == {"127.0.0.1"}


def test_metrics_are_published(triton: TritonState) -> None:
    with urllib.request.urlopen(triton.metrics_url, timeout=10) as answer:
        text = answer.read().decode()
    assert re.search(rf'nv_inference_request_success\{{model="{triton.model("vqvae")}"', text)
    assert set(re.findall(r"^nv_\w+", text, re.MULTILINE)) == TRITON, "rules and dashboards ask"
