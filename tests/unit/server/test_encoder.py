"""The encoder's promises: bounded, watched by the canary, every failure told as what it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from tests.unit.server.made_bundles import canary_answer, picture, write_bundle
from tests.unit.server.triton_double import TritonDouble, triton_double
from tests.unit.server.waiting import until

from slidekin_server.admission import Turns
from slidekin_server.bundle import ModelBundle, load_bundle
from slidekin_server.codes import keys_from_codes, textures_from_features
from slidekin_server.encoding import (
    Encoder,
    EncoderBusyError,
    EncoderFaultError,
    EncoderState,
    EncoderStatus,
    EncoderTimeoutError,
    EncoderUnavailableError,
    ImageFormat,
    ImageLimits,
    ImageRefusedError,
    PatchImage,
)
from slidekin_server.telemetry import Metrics

JPEG = PatchImage(ImageFormat.JPEG, picture(kind="JPEG"))
LIMITS = ImageLimits(8 * 2**20, 4096 * 4096)


@pytest.fixture
def bundle(tmp_path: Path) -> ModelBundle:
    return load_bundle(write_bundle(tmp_path / "bundle"), allow_random_weights=False)


class Bench:
    """An encoder before a Triton double, with what it said and counted."""

    def __init__(self, bundle: ModelBundle, triton: TritonDouble, **options):
        self.triton = triton
        self.registry = CollectorRegistry()
        self.heard: list[EncoderStatus] = []
        self._changed = asyncio.Event()
        metrics = Metrics(self.registry)
        options["turns"] = Turns(
            "encoder", options.pop("max_in_flight", 4), bulk_every=8, metrics=metrics
        )
        chosen = {
            "timeout_s": 20.0,
            "canary_interval_s": 3600.0,
            "retry_interval_s": 0.05,
        }
        self.encoder = Encoder(
            bundle,
            url=triton.url,
            limits=LIMITS,
            metrics=metrics,
            on_change=self._hear,
            **(chosen | options),
        )

    def _hear(self, status: EncoderStatus) -> None:
        self.heard.append(status)
        self._changed.set()

    async def until(self, state: EncoderState) -> None:
        while self.encoder.status.state is not state:
            self._changed.clear()
            await self._changed.wait()

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"slidekin_{name}", labels)

    def encoded(self, result: str) -> float | None:
        return self.value("patches_encoded_total", result=result)


def with_encoder(bundle: ModelBundle, scenario: Callable, **options) -> None:
    """Run a scenario with an encoder that is ready."""

    async def run():
        async with triton_double() as triton:
            bench = Bench(bundle, triton, **options)
            await bench.encoder.start()
            try:
                await bench.until(EncoderState.READY)
                await scenario(bench)
            finally:
                await bench.encoder.close()

    asyncio.run(run())


def test_a_patch_comes_back_as_key_and_texture(bundle: ModelBundle):
    async def scenario(bench: Bench):
        patch = await bench.encoder.encode(JPEG)
        codes, features = canary_answer()
        assert patch.key == keys_from_codes(codes[None], bundle.semantic_order)[0]
        np.testing.assert_array_equal(patch.texture, textures_from_features(features[None])[0])
        request = bench.triton.requests[-1]
        assert (request.model_name, request.inputs[0].name) == (
            "patch_encoder-abababababab",
            "IMAGE",
        )
        assert request.raw_input_contents[0][4:] == JPEG.data
        assert bench.encoded("ok") == 1
        assert bench.value("stage_duration_seconds_count", stage="encode") == 1

    with_encoder(bundle, scenario)


def test_several_tritons_behind_one_name_take_turns(bundle: ModelBundle):
    async def run():
        async with triton_double() as one, triton_double() as two:
            both = SimpleNamespace(url=f"ipv4:{one.url},{two.url}")
            bench = Bench(bundle, both)
            await bench.encoder.start()
            try:
                await bench.until(EncoderState.READY)
                # The second connection may be made a moment after the first.
                while not (one.requests and two.requests):
                    await bench.encoder.encode(JPEG)
                asked = len(one.requests), len(two.requests)
                for _ in range(8):
                    await bench.encoder.encode(JPEG)
            finally:
                await bench.encoder.close()
            assert (len(one.requests) - asked[0], len(two.requests) - asked[1]) == (4, 4)

    asyncio.run(run())


def test_raw_pixels_go_to_the_raw_encoder(bundle: ModelBundle):
    async def scenario(bench: Bench):
        pixels = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8).tobytes()
        await bench.encoder.encode(PatchImage(ImageFormat.RGB, pixels, 1024, 1024))
        request = bench.triton.requests[-1]
        assert (request.model_name, request.inputs[0].name) == (
            "patch_encoder_raw-abababababab",
            "PIXELS",
        )
        assert list(request.inputs[0].shape) == [1, 1024, 1024, 3]
        assert request.raw_input_contents[0] == pixels

    with_encoder(bundle, scenario)


def test_what_is_no_patch_never_reaches_triton(bundle: ModelBundle):
    async def scenario(bench: Bench):
        before = len(bench.triton.requests)
        with pytest.raises(ImageRefusedError, match="1 x 1 px"):
            await bench.encoder.encode(PatchImage(ImageFormat.PNG, picture(1, 1)))
        assert len(bench.triton.requests) == before
        assert bench.encoded("refused") == 1

    with_encoder(bundle, scenario)


def test_what_is_in_flight_is_bounded_and_first_come_is_first_served(bundle: ModelBundle):
    async def scenario(bench: Bench):
        bench.triton.free.clear()
        before = len(bench.triton.requests)
        images = [PatchImage(ImageFormat.JPEG, JPEG.data + bytes([n])) for n in range(12)]
        async with asyncio.TaskGroup() as tasks:
            for n, image in enumerate(images):
                tasks.create_task(bench.encoder.encode(image))
                await until(lambda n=n: bench.value("encoder_in_flight") == min(n + 1, 4))
                await until(lambda n=n: bench.value("encoder_waiting") == max(n - 3, 0))
            bench.triton.free.set()
        assert bench.triton.most_in_flight == 4
        arrived = [one.raw_input_contents[0][4:] for one in bench.triton.requests[before:]]
        assert arrived[4:] == [image.data for image in images[4:]]
        assert bench.value("encoder_waiting") == bench.value("encoder_in_flight") == 0

    with_encoder(bundle, scenario)


def test_a_patch_given_up_leaves_its_turn_to_others(bundle: ModelBundle):
    async def scenario(bench: Bench):
        bench.triton.free.clear()
        tasks = [asyncio.create_task(bench.encoder.encode(JPEG)) for _ in range(8)]
        await until(lambda: bench.value("encoder_waiting") == 4)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        bench.triton.free.set()
        await asyncio.gather(*(bench.encoder.encode(JPEG) for _ in range(8)))
        assert (bench.encoded("cancelled"), bench.encoded("ok")) == (8, 8)
        assert bench.encoder.status.state is EncoderState.READY

    with_encoder(bundle, scenario)


def test_the_callers_deadline_holds_while_waiting_and_at_triton(bundle: ModelBundle):
    async def scenario(bench: Bench):
        bench.triton.free.clear()
        with pytest.raises(EncoderTimeoutError, match="did not answer"):
            await bench.encoder.encode(JPEG, timeout_s=0.2)
        # Nobody waits for it, and yet it goes on at Triton and keeps its place.
        assert bench.value("encoder_in_flight") == 1
        with pytest.raises(EncoderTimeoutError, match="busy with others"):
            await bench.encoder.encode(JPEG, timeout_s=0.2)
        with pytest.raises(EncoderTimeoutError):
            await bench.encoder.encode(JPEG, timeout_s=-1)
        bench.triton.free.set()
        await bench.encoder.encode(JPEG)
        assert bench.encoded("timeout") == 3
        assert bench.encoder.status.state is EncoderState.READY

    with_encoder(bundle, scenario, max_in_flight=1)


@pytest.mark.parametrize(
    ("code", "message", "wanted"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "in ensemble: image refused: cut", ImageRefusedError),
        (grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape", EncoderFaultError),
        (grpc.StatusCode.INTERNAL, "broken", EncoderFaultError),
        (grpc.StatusCode.UNAVAILABLE, "Request timeout expired", EncoderTimeoutError),
        (grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size", EncoderBusyError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "no", EncoderBusyError),
    ],
)
def test_failures_are_told_as_what_they_are(
    bundle: ModelBundle, code: grpc.StatusCode, message: str, wanted: type[Exception]
):
    async def scenario(bench: Bench):
        bench.triton.failure = (code, message)
        with pytest.raises(wanted) as caught:
            await bench.encoder.encode(JPEG)
        if wanted is ImageRefusedError:
            assert str(caught.value) == "cut"
        if wanted is EncoderBusyError:
            assert caught.value.retry_after_s == 0.05
        assert bench.encoded(wanted.outcome) == 1
        # One patch's failure says nothing of the encoders.
        assert bench.encoder.status.state is EncoderState.READY

    with_encoder(bundle, scenario)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda triton: setattr(triton, "codes", triton.codes[:32]),
        lambda triton: setattr(triton, "codes", triton.codes | 128),
        lambda triton: setattr(triton, "codes", triton.codes.astype(np.float32)),
        lambda triton: setattr(triton, "features", triton.features[:1024]),
        lambda triton: setattr(triton, "features", triton.features * np.float32(np.nan)),
        lambda triton: setattr(triton, "cut", triton.codes.tobytes()[-1:]),
        lambda triton: setattr(triton, "cut", triton.codes.tobytes()),
    ],
    ids=["codes cut", "codes too great", "codes float", "narrow", "nan", "byte lost", "empty"],
)
def test_nonsense_is_never_taken_for_a_patch(bundle: ModelBundle, spoil: Callable):
    async def scenario(bench: Bench):
        spoil(bench.triton)
        with pytest.raises(EncoderFaultError, match="Triton"):
            await bench.encoder.encode(JPEG)
        assert bench.encoded("fault") == 1

    with_encoder(bundle, scenario)


def test_nothing_is_encoded_before_the_canary_was_right(bundle: ModelBundle):
    async def run():
        async with triton_double() as triton:
            bench = Bench(bundle, triton)
            assert bench.encoder.status.state is EncoderState.STARTING
            with pytest.raises(EncoderUnavailableError, match="not been asked yet"):
                await bench.encoder.encode(JPEG)
            assert triton.requests == []
            await bench.encoder.close()

    asyncio.run(run())


def test_a_wrong_canary_stops_encoding_until_it_is_right_again(bundle: ModelBundle):
    async def scenario(bench: Bench):
        right = bench.triton.codes
        bench.triton.codes = right ^ 1
        await bench.until(EncoderState.CANARY_MISMATCH)
        assert "4096 codes differ" in bench.encoder.status.message
        with pytest.raises(EncoderUnavailableError, match="canary") as caught:
            await bench.encoder.encode(JPEG)
        assert caught.value.retry_after_s == 0.05
        assert (
            bench.value(
                "encoder_state", model="abababababab", slidekin_encoder_state="canary_mismatch"
            )
            == 1
        )
        bench.triton.codes = right
        await bench.until(EncoderState.READY)
        await bench.encoder.encode(JPEG)
        assert bench.value("canary_checks_total", result="canary_mismatch") >= 1

    with_encoder(bundle, scenario, canary_interval_s=0.05)


def test_a_canary_of_another_width_is_a_mismatch_and_not_an_absence(bundle: ModelBundle):
    async def scenario(bench: Bench):
        bench.triton.features = bench.triton.features[:1024]
        await bench.until(EncoderState.CANARY_MISMATCH)
        assert "does it serve another bundle?" in bench.encoder.status.message

    with_encoder(bundle, scenario, canary_interval_s=0.05)


def test_triton_going_is_noticed_by_the_next_patch_and_its_return_by_itself(bundle: ModelBundle):
    async def scenario(bench: Bench):
        await bench.triton.stop()
        with pytest.raises(EncoderUnavailableError, match="not ready") as caught:
            await bench.encoder.encode(JPEG)
        assert caught.value.retry_after_s == 0.05
        assert bench.encoder.status.state is EncoderState.UNAVAILABLE
        for _ in range(3):
            with pytest.raises(EncoderUnavailableError):
                await bench.encoder.encode(JPEG)
        await bench.triton.start()
        await bench.until(EncoderState.READY)
        await bench.encoder.encode(JPEG)
        states = [status.state for status in bench.heard]
        assert states[0] is EncoderState.READY
        assert states[1] is EncoderState.UNAVAILABLE
        assert states[-1] is EncoderState.READY

    with_encoder(bundle, scenario)


def test_patches_in_flight_and_waiting_fail_when_triton_goes(bundle: ModelBundle):
    async def scenario(bench: Bench):
        bench.triton.free.clear()
        tasks = [asyncio.create_task(bench.encoder.encode(JPEG)) for _ in range(10)]
        await until(lambda: bench.value("encoder_waiting") == 6)
        await bench.triton.stop()
        await asyncio.wait(tasks)
        assert all(isinstance(task.exception(), EncoderUnavailableError) for task in tasks)
        assert bench.encoded("unavailable") == 10

    with_encoder(bundle, scenario)


def test_a_silent_triton_is_unavailable_and_not_waited_for_for_ever(bundle: ModelBundle):
    async def scenario(bench: Bench):
        bench.triton.free.clear()
        await bench.until(EncoderState.UNAVAILABLE)
        assert "did not answer within 0.2 s" in bench.encoder.status.message
        bench.triton.free.set()
        await bench.until(EncoderState.READY)

    with_encoder(bundle, scenario, timeout_s=0.2, canary_interval_s=0.05)


def test_the_watch_goes_on_after_a_failure_of_its_own(bundle: ModelBundle, monkeypatch):
    async def scenario(bench: Bench):
        with monkeypatch.context() as patch:
            patch.setattr(bench.encoder._canary.__class__, "mismatch", lambda *_: 1 / 0)
            await bench.until(EncoderState.UNAVAILABLE)
            assert "service's log" in bench.encoder.status.message
        await bench.until(EncoderState.READY)

    with_encoder(bundle, scenario, canary_interval_s=0.05)


def test_closing_ends_the_watch(bundle: ModelBundle):
    async def run():
        async with triton_double() as triton:
            bench = Bench(bundle, triton)
            await bench.encoder.start()
            await bench.until(EncoderState.READY)
            await bench.encoder.close()
            names = {task.get_name() for task in asyncio.all_tasks()}
            assert "canary" not in names
            with contextlib.suppress(EncoderUnavailableError):
                await bench.encoder.close()

    asyncio.run(run())
