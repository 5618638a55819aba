"""What the service makes of the precision that Triton says to serve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.unit.server.made_bundles import bundle_content, write_bundle
from tests.unit.server.triton_double import TritonDouble, triton_double
from tests.unit.server.waiting import until

from slidekin_server.admission import Turns
from slidekin_server.bundle import load_bundle
from slidekin_server.encoding import Encoder, EncoderState, ImageLimits, NetworkRuntime
from slidekin_server.telemetry import Metrics

REDUCED = {"vqvae": ("openvino", "bf16"), "texture": ("openvino", "bf16")}


def after_a_check(folder: Path, prepare: Callable[[TritonDouble], None]) -> Encoder:
    """An encoder that has asked Triton once."""

    async def run() -> Encoder:
        async with triton_double() as triton:
            prepare(triton)
            metrics = Metrics(CollectorRegistry())
            encoder = Encoder(
                load_bundle(folder, allow_random_weights=False),
                url=triton.url,
                turns=Turns("encoder", 1, bulk_every=8, metrics=metrics),
                timeout_s=20.0,
                canary_interval_s=3600.0,
                retry_interval_s=3600.0,
                limits=ImageLimits(8 * 2**20, 4096 * 4096),
                metrics=metrics,
            )
            await encoder.start()
            await until(lambda: encoder.status.state is not EncoderState.STARTING)
            await encoder.close()
            return encoder

    return asyncio.run(run())


def differing(codes: int, runtimes: dict[str, tuple[str, str]]) -> Callable[[TritonDouble], None]:
    def prepare(triton: TritonDouble) -> None:
        triton.codes.reshape(-1)[:codes] ^= 1
        triton.runtimes = runtimes

    return prepare


def test_the_encoder_tells_how_triton_serves_the_networks(tmp_path: Path) -> None:
    encoder = after_a_check(write_bundle(tmp_path / "bundle"), differing(0, REDUCED))
    assert encoder.runtimes == (
        NetworkRuntime("vqvae", "openvino", "bf16"),
        NetworkRuntime("texture", "openvino", "bf16"),
    )


@pytest.mark.parametrize(
    ("codes", "runtimes", "state"),
    [
        (409, REDUCED, EncoderState.READY),
        (410, REDUCED, EncoderState.CANARY_MISMATCH),
        # The texture network's precision says nothing of the codes.
        (5, REDUCED | {"vqvae": ("openvino", "fp32")}, EncoderState.CANARY_MISMATCH),
        (4, REDUCED | {"vqvae": ("openvino", "fp32")}, EncoderState.READY),
        # Nothing said: nothing allowed.
        (5, {}, EncoderState.CANARY_MISMATCH),
    ],
)
def test_the_canary_may_be_as_far_off_as_the_gate_lets_the_served_precision(
    tmp_path: Path, codes: int, runtimes: dict[str, tuple[str, str]], state: EncoderState
) -> None:
    encoder = after_a_check(write_bundle(tmp_path / "bundle"), differing(codes, runtimes))
    assert encoder.status.state is state, encoder.status.message


def test_a_bundle_that_says_nothing_of_fewer_digits_allows_none(tmp_path: Path) -> None:
    canary = bundle_content()["canary"]
    del canary["reduced_precision"]
    folder = write_bundle(tmp_path / "bundle", canary=canary)
    encoder = after_a_check(folder, differing(5, REDUCED))
    assert encoder.status.state is EncoderState.CANARY_MISMATCH
    assert "at most 4 may" in encoder.status.message
