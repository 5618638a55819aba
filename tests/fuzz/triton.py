"""The decoder in a real Triton: image files, whole and damaged, sent to it."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import psutil
from tests.fuzz.mutation import Mutator
from tests.fuzz.pictures import PICTURES
from tests.fuzz.results import Finding, Result
from tests.fuzz.service import growth
from tests.triton_stack import TritonState, build_random_bundle, running_triton, why_no_triton
from tritonclient import grpc as triton_grpc
from tritonclient.utils import InferenceServerException

TARGET = "triton-decoder"
_DECODER = "image_decoder"
_PATIENCE_S = 20.0
_BATCH = 25
_MIB = 1024 * 1024
_REFUSALS = {"StatusCode.INVALID_ARGUMENT"}


def run(inputs: int, number: int) -> Result:
    """Send so many image files, and see that Triton lives and stays as large as it was."""
    chance = random.Random(number)
    started = time.monotonic()
    findings: list[Finding] = []
    memory: list[float] = []
    answers: Counter[str] = Counter()
    with _running() as (state, client):
        for count in range(1, inputs + 1):
            data = Mutator(chance.getrandbits(32)).mutate_picture(chance.choice(PICTURES))
            fault = _fault(client, data, answers)
            if fault and len(findings) < 3:
                findings.append(Finding(TARGET, fault, data=data))
            if count % _BATCH == 0 or count == inputs:
                if not client.is_server_ready():
                    findings.append(Finding(TARGET, "crash: Triton is not ready", data=data))
                    break
                memory.append(_memory_mib(state))
    return Result(
        target=TARGET,
        seed=number,
        inputs=sum(answers.values()),
        seconds=round(time.monotonic() - started, 1),
        findings=tuple(findings),
        memory_growth_mib=growth(memory),
        depth=f"{round(100 * answers['decoded'] / max(1, sum(answers.values())))} % decoded",
    )


def replay(file: Path) -> bool:
    """Send one image file again."""
    with _running() as (_, client):
        fault = _fault(client, file.read_bytes(), Counter())
        print(f"{TARGET}: {fault or f'nothing is wrong with {file}'}")
        return fault is None and client.is_server_ready()


@contextlib.contextmanager
def _running() -> Iterator[tuple[TritonState, triton_grpc.InferenceServerClient]]:
    """A Triton with small networks, and a client of it."""
    missing = why_no_triton()
    if missing:
        raise RuntimeError(missing)
    with tempfile.TemporaryDirectory(prefix="slidekin-fuzz-") as scratch:
        bundle = build_random_bundle(Path(scratch) / "bundle", texture="efficientnet-lite0", seed=0)
        with (
            running_triton(bundle, Path(scratch) / "run") as state,
            triton_grpc.InferenceServerClient(state.grpc_url) as client,
        ):
            yield state, client


def _fault(
    client: triton_grpc.InferenceServerClient,
    data: bytes,
    answers: Counter[str],
) -> str | None:
    """Send one file; say what is wrong with the answer."""
    tensor = triton_grpc.InferInput("IMAGE", [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[data]], dtype=object))
    try:
        answer = client.infer(_DECODER, [tensor], client_timeout=_PATIENCE_S)
    except InferenceServerException as error:
        answers["refused"] += 1
        if error.status() == str(grpc.StatusCode.DEADLINE_EXCEEDED):
            return f"hang: no answer within {_PATIENCE_S} s"
        if error.status() not in _REFUSALS or "image refused" not in error.message():
            return f"code: {error.status()}: {error.message()[:200]}"
        return None
    answers["decoded"] += 1
    shape = answer.as_numpy("PIXELS").shape
    return None if shape == (1, 1024, 1024, 3) else f"shape: {shape}"


def _memory_mib(state: TritonState) -> float:
    """Of Triton and of all its Python models."""
    server = psutil.Process(state.triton_pid)
    processes = [server, *server.children(recursive=True)]
    return sum(process.memory_info().rss for process in processes) / _MIB
