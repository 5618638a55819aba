"""The encoder against the real Triton with real networks."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prometheus_client import CollectorRegistry
from tests.triton_stack import (
    TritonState,
    build_demo_bundle,
    running_triton,
    start_launcher,
    wait_ready,
    why_no_triton,
)
from tests.unit.server.waiting import until

from slidekin_server.admission import Turns
from slidekin_server.bundle import ModelBundle, load_bundle
from slidekin_server.codes import keys_from_codes, textures_from_features
from slidekin_server.encoding import (
    Encoder,
    EncoderState,
    EncoderUnavailableError,
    ImageFormat,
    ImageLimits,
    ImageRefusedError,
    PatchImage,
)
from slidekin_server.telemetry import Metrics

if reason := why_no_triton():
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_demo_bundle(tmp_path_factory.mktemp("encoding") / "bundle")


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> ModelBundle:
    return load_bundle(bundle_folder, allow_random_weights=True)


@pytest.fixture(scope="module")
def triton(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonState]:
    with running_triton(bundle_folder, tmp_path_factory.mktemp("run")) as state:
        yield state


def with_encoder(bundle: ModelBundle, url: str, scenario: Callable, **options) -> CollectorRegistry:
    """Run a scenario with a started encoder; return what it counted."""
    registry = CollectorRegistry()

    async def run():
        metrics = Metrics(registry)
        options["turns"] = Turns(
            "encoder", options.pop("max_in_flight", 4), bulk_every=8, metrics=metrics
        )
        chosen = {
            "timeout_s": 60.0,
            "canary_interval_s": 3600.0,
            "retry_interval_s": 0.2,
        }
        encoder = Encoder(
            bundle,
            url=url,
            limits=ImageLimits(8 * 2**20, 4096 * 4096),
            metrics=metrics,
            **(chosen | options),
        )
        await encoder.start()
        try:
            await scenario(encoder)
        finally:
            await encoder.close()

    asyncio.run(run())
    return registry


async def becomes(encoder: Encoder, state: EncoderState) -> None:
    await until(lambda: encoder.status.state is state)


def canary_bytes(bundle: ModelBundle) -> bytes:
    return bundle.canary.image.read_bytes()


def test_the_canary_encodes_to_what_the_bundle_says(bundle: ModelBundle, triton: TritonState):
    async def scenario(encoder: Encoder):
        await becomes(encoder, EncoderState.READY)
        data = canary_bytes(bundle)
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        as_file = PatchImage(ImageFormat.PNG, data)
        as_pixels = PatchImage(ImageFormat.RGB, pixels.tobytes(), 1024, 1024)
        file, raw = await asyncio.gather(encoder.encode(as_file), encoder.encode(as_pixels))
        assert file.key == raw.key
        np.testing.assert_array_equal(file.texture, raw.texture)
        codes = np.load(bundle.canary.codes)
        features = np.load(bundle.canary.texture_features)
        (key,) = keys_from_codes(codes[None], bundle.semantic_order)
        (texture,) = textures_from_features(features[None])
        # One code of a near tie may differ by up to 127: in all three sums of the key.
        assert abs(file.key - key) <= bundle.canary.exact.max_differing_codes * 127 * (
            10**11 + 10**6 + 1
        )
        differing = np.bitwise_count(file.texture ^ texture).sum()
        assert differing <= bundle.canary.exact.max_differing_texture_bits

    with_encoder(bundle, triton.grpc_url, scenario)


def test_a_bad_image_fails_alone(bundle: ModelBundle, triton: TritonState):
    async def scenario(encoder: Encoder):
        await becomes(encoder, EncoderState.READY)
        good = PatchImage(ImageFormat.PNG, canary_bytes(bundle))
        cut = PatchImage(ImageFormat.PNG, good.data[: len(good.data) // 2])
        answers = await asyncio.gather(
            *(encoder.encode(image) for image in (good, cut, good)), return_exceptions=True
        )
        assert isinstance(answers[1], ImageRefusedError)
        assert answers[0].key == answers[2].key
        assert encoder.status.state is EncoderState.READY

    registry = with_encoder(bundle, triton.grpc_url, scenario)
    name = "slidekin_patches_encoded_total"
    assert registry.get_sample_value(name, {"result": "refused"}) == 1
    assert registry.get_sample_value(name, {"result": "ok"}) == 2


def test_another_bundles_canary_is_a_mismatch(
    bundle_folder: Path, triton: TritonState, tmp_path: Path
):
    other = tmp_path / "other"
    shutil.copytree(bundle_folder, other)
    codes = np.load(other / "canary/codes.npy")
    np.save(other / "canary/codes.npy", (codes + 1) % 128)

    async def scenario(encoder: Encoder):
        await becomes(encoder, EncoderState.CANARY_MISMATCH)
        assert "4096 codes differ" in encoder.status.message
        with pytest.raises(EncoderUnavailableError, match="canary"):
            await encoder.encode(PatchImage(ImageFormat.PNG, canary_bytes(bundle)))

    bundle = load_bundle(other, allow_random_weights=True)
    with_encoder(bundle, triton.grpc_url, scenario)


@pytest.mark.timeout(600)
def test_triton_killed_is_unavailable_and_its_return_is_noticed(
    bundle: ModelBundle, bundle_folder: Path, tmp_path: Path
):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"127.0.0.1:{port}"
    image = PatchImage(ImageFormat.PNG, canary_bytes(bundle))

    async def scenario(encoder: Encoder):
        await becomes(encoder, EncoderState.UNAVAILABLE)
        with start_launcher(bundle_folder, tmp_path / "a", f"--grpc-port={port}") as launcher:
            state = await asyncio.to_thread(wait_ready, launcher, tmp_path / "a")
            await becomes(encoder, EncoderState.READY)
            first = await encoder.encode(image)
            in_flight = [asyncio.create_task(encoder.encode(image)) for _ in range(6)]
            await asyncio.wait(in_flight, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
            os.kill(state.triton_pid, signal.SIGKILL)
            answers = await asyncio.gather(*in_flight, return_exceptions=True)
            assert any(isinstance(one, EncoderUnavailableError) for one in answers), answers
            assert encoder.status.state is EncoderState.UNAVAILABLE
            with pytest.raises(EncoderUnavailableError) as caught:
                await encoder.encode(image)
            assert caught.value.retry_after_s == 0.2
            await asyncio.to_thread(launcher.communicate)
        with start_launcher(bundle_folder, tmp_path / "b", f"--grpc-port={port}") as launcher:
            try:
                await becomes(encoder, EncoderState.READY)
                assert (await encoder.encode(image)).key == first.key
            finally:
                launcher.terminate()
                await asyncio.to_thread(launcher.communicate)

    with_encoder(bundle, url, scenario)
