"""Figures of the road from client to networks: the runtimes alone, Triton, the whole service."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tests.bench.encode_bare import (
    AT_ONCE,
    IN_TURN,
    SIDE_BY_SIDE,
    Bare,
    default_runtimes,
    eager_runtimes,
)
from tests.bench.encode_load import COLLECTION, Load, Stack
from tests.bench.encode_patches import FORMATS, FileFormat, Patches, read_patches
from tests.bench.lines import say
from tests.bench.timing import each_ms
from tests.paths import PROJECT
from tests.service_process import ServiceProcess
from tests.triton_stack import running_triton
from tritonclient.grpc import InferenceServerClient

from slidekin import Client, Codes, Slide
from slidekin_models.bundles.bundle import build_bundle
from slidekin_models.decoding import decode_patch
from slidekin_models.runtimes.gate import judge
from slidekin_models.runtimes.placement import Placement
from slidekin_server.codes import MAX_KEY

_PATCHES = 16
"""Different ones; a load takes them round and round."""
_JUDGED = 6
_EAGER_ROUND = 6
_ROUND = 24
_LOAD = 96
_FORMAT_LOAD = 64
_LONE = 24
_REPEATS = 6
_IN_FLIGHT = 16
_CLIENTS = (1, 4, 16)
_MODELS = PROJECT / "deploy" / "demo" / "models.yaml"


def runtimes(folder: Path) -> None:
    """Build the demo's pair, have the gate judge OpenVINO on it, and time torch in fp32."""
    bundle = folder / "bundle"
    build_bundle(_MODELS, bundle)
    patches = read_patches(_PATCHES)
    for network in ("vqvae", "texture"):
        offered = [
            Placement(runtime="openvino", precision=precision) for precision in ("bf16", "fp32")
        ]
        for found in judge(bundle / network, offered, patches.tissue(_JUDGED), lambda _: None):
            verdict = found.verdict
            say(
                "gate",
                float(verdict.accepted),
                "accepted",
                patches=verdict.patches,
                engine=f"{verdict.runtime} {verdict.precision}",
                network=network,
                figures=verdict.figures.model_dump(),
                faults=found.faults,
                tissue=verdict.tissue,
            )
    bare = Bare(bundle, eager_runtimes())
    for arrangement in (IN_TURN, SIDE_BY_SIDE):
        _say_bare(bare, arrangement, patches, _EAGER_ROUND)
    _say_networks(bare, patches, _EAGER_ROUND)


def road(folder: Path) -> None:
    """Measure the default runtime, Triton and the service, one after the other and interleaved."""
    patches = read_patches(_PATCHES)
    for file_format in FORMATS:
        _say_file(patches, file_format)
    bare = Bare(folder / "bundle", default_runtimes(folder / "bundle"))
    for arrangement in (IN_TURN, AT_ONCE, SIDE_BY_SIDE):
        _say_bare(bare, arrangement, patches, _ROUND)
    _say_networks(bare, patches, _ROUND)
    with _stack(folder, patches) as stack:
        _lone(bare, stack)
        best = bare.best()
        load = stack.through_triton(_LOAD, in_flight=_IN_FLIGHT)
        _say_load("through Triton", load, file_format="jpeg", clients=1, in_flight=_IN_FLIGHT)
        for clients in _CLIENTS:
            _say_bare(bare, best, patches, _ROUND)
            load = stack.streams(clients, _LOAD, "jpeg")
            _say_load("through the service", load, file_format="jpeg", clients=clients)
            if clients == max(_CLIENTS):
                _say_bare(bare, best, patches, _ROUND)
                # The machine's speed drifts: what is compared stands side by side.
                beside = float(np.mean(bare.rates[best][-2:]))
                say("service against bare", load.rate / beside * 100, "%", clients=clients)
        for clients in _CLIENTS[1:]:
            load = stack.one_at_a_time(clients, _FORMAT_LOAD)
            _say_load("one patch after the other", load, file_format="jpeg", clients=clients)
        for file_format in FORMATS[1:]:
            load = stack.streams(_CLIENTS[-1], _FORMAT_LOAD, file_format)
            _say_load("through the service", load, file_format=file_format, clients=_CLIENTS[-1])


@contextlib.contextmanager
def _stack(folder: Path, patches: Patches) -> Iterator[Stack]:
    """Triton as the launcher starts it by itself, and a service before it with a few slides."""
    bundle = folder / "bundle"
    begin = time.perf_counter()
    with running_triton(bundle, folder / "triton", "--runtime=auto", "--precision=auto") as triton:
        say("Triton ready", time.perf_counter() - begin, "s")
        settings = {
            "model": {"bundle": str(bundle), "allow_random_weights": True},
            "triton": {"url": triton.grpc_url},
        }
        with ServiceProcess(folder / "service", settings, codes_only=False) as service:
            with Client(service.url) as client:
                _fill(client)
            yield Stack(triton, service.url, patches)
    shutil.rmtree(folder / "service")


def _fill(client: Client) -> None:
    """Slides to be found; random ones will do, as the search is no part of the question."""
    collection = client.create_collection(COLLECTION)
    for number in range(20):
        codes, fingerprint = _random_codes(client, 60, seed=number)
        client.add_slide_codes(
            Slide(name=f"{collection.name}/slides/slide-{number}"),
            codes,
            model_fingerprint=fingerprint,
        )


def _random_codes(client: Client, patches: int, *, seed: int = 0) -> tuple[Codes, str]:
    """Codes that fit the collection, and the fingerprint of the model that they could be of."""
    collection = client.get_collection(COLLECTION)
    rng = np.random.default_rng(seed)
    codes = Codes(
        rng.integers(0, MAX_KEY, patches),
        rng.integers(0, 256, (patches, collection.texture_bits // 8), dtype=np.uint8),
        rng.integers(0, 40_000, (patches, 2), dtype=np.int32),
    )
    return codes, collection.model_fingerprint


def _lone(bare: Bare, stack: Stack) -> None:
    """One patch at a time: bare, through Triton and through the service in turns.

    And what the service takes of it by itself: a search by codes, when the networks have just run
    and again at once, when caches hold the service and no longer the networks.
    """
    with InferenceServerClient(stack.triton.grpc_url) as triton, Client(stack.service_url) as sdk:
        asked = {
            ("bare", IN_TURN): lambda i: bare.in_turn(stack.patches.pixels[i % _PATCHES]),
            ("bare", AT_ONCE): lambda i: bare.at_once(stack.patches.pixels[i % _PATCHES]),
            ("bare", "the JPEG decoded, then one network after the other"): (
                lambda i: bare.in_turn(decode_patch(stack.patches.file("jpeg", i))[np.newaxis])
            ),
            ("through Triton", "jpeg"): lambda i: stack.ask_triton(triton, "jpeg", i),
            ("through Triton", "raw"): lambda i: stack.ask_triton(triton, "raw", i),
            **{
                ("through the service", file_format): (
                    lambda i, file_format=file_format: stack.ask_service(sdk, file_format, i)
                )
                for file_format in FORMATS
            },
        }
        taken: dict[tuple[str, str], list[float]] = {one: [] for one in asked}
        codes, fingerprint = _random_codes(sdk, 1)
        by_codes: list[list[float]] = []
        for number in range(_LONE + 1):
            for one, ask in asked.items():
                begin = time.perf_counter()
                ask(number)
                if number:  # the first one warms up
                    taken[one].append((time.perf_counter() - begin) * 1e3)
            search = partial(
                sdk.search_patches, codes, collection=COLLECTION, model_fingerprint=fingerprint
            )
            by_codes.append(each_ms(search, [()] * _REPEATS))
    first, *repeated = np.median(by_codes[1:], axis=0)
    say(
        "lone patch by codes",
        float(first),
        "ms",
        repeated_ms=round(float(np.median(repeated)), 2),
        samples=_LONE,
    )
    least = min((IN_TURN, AT_ONCE), key=lambda way: float(np.median(taken["bare", way])))
    for (road_taken, way), times in taken.items():
        # Of each turn by itself: what slows a turn down slows all of it.
        added = np.subtract(times, taken["bare", least])
        say(
            "lone patch",
            float(np.median(times)),
            "ms",
            engine=road_taken,
            way=way,
            added_ms=round(float(np.median(added)), 2),
            added_p10_p90=[round(float(one), 2) for one in np.percentile(added, [10, 90])],
            p99_ms=round(float(np.percentile(times, 99)), 1),
            samples=len(times),
        )


def _say_file(patches: Patches, file_format: FileFormat) -> None:
    sizes = [len(patches.file(file_format, number)) for number in range(_PATCHES)]
    decode_ms = 0.0
    if file_format != "raw":
        files = [(patches.file(file_format, number),) for number in range(_PATCHES)]
        each_ms(decode_patch, files[:2])
        decode_ms = float(np.median(each_ms(decode_patch, files)))
    say(
        "decoding",
        decode_ms,
        "ms",
        patches=_PATCHES,
        file_format=file_format,
        mean_kib=round(float(np.mean(sizes)) / 1024),
        source=patches.source,
    )


def _say_bare(bare: Bare, arrangement: str, patches: Patches, count: int) -> None:
    rate = bare.round(arrangement, patches.pixels, count)
    say("bare", rate, "patches/s", patches=count, engine=bare.name, arrangement=arrangement)


def _say_networks(bare: Bare, patches: Patches, count: int) -> None:
    for network, taken_ms in bare.network_ms(patches.pixels[:count]).items():
        runtime = " ".join(bare.runtimes[network])
        say("one network", taken_ms, "ms", engine=runtime, network=network)


def _say_load(bench: str, load: Load, **more: Any) -> None:
    say(bench, load.rate, "patches/s", patches=len(load.taken_ms), **more, **load.facts())
