"""Every target of a run, and its share of the inputs."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz import coverage, triton
from tests.fuzz.calls import Request
from tests.fuzz.coverage import ReaderRun
from tests.fuzz.readers.all import READERS
from tests.fuzz.requests import KINDS
from tests.fuzz.results import Result
from tests.fuzz.service import LIMITS, ServiceRun
from tests.integration.client.encoder import quick_encoder
from tests.service_process import ServiceProcess
from tests.unit.server.made_bundles import write_bundle

_CALL_SHARES = {
    "rpc-messages": 2.5,
    "rpc-streams": 1.0,
    "rpc-bytes": 2.5,
    "rpc-metadata": 1.0,
    "rpc-images": 0.5,
}
"""Per cent of a run's inputs. A call takes ten times as long as most readers do, and more: with
these, calls and readers each get about half of a run's time."""
_TRITON_SHARE = 0.3
_READERS_SHARE = 100 - sum(_CALL_SHARES.values()) - _TRITON_SHARE


def shares() -> dict[str, float]:
    """Per cent of the inputs by target; calls first, since each of them wants both cores."""
    whole = sum(reader.share for reader in READERS.values())
    readers = {name: _READERS_SHARE * one.share / whole for name, one in READERS.items()}
    return {**_CALL_SHARES, triton.TARGET: _TRITON_SHARE, **readers}


def run(target: str, inputs: int, number: int) -> Result:
    """Run one target."""
    if target == triton.TARGET:
        return triton.run(inputs, number)
    if target in KINDS:
        with running_service(target) as service:
            return ServiceRun(target, service).run(KINDS[target], inputs=inputs, number=number)
    return ReaderRun(target, number).run(inputs)


def replay(file: Path) -> bool:
    """Do again what a file holds; whether nothing is wrong any more.

    The file is one that a run saved: its folder is called as its target.
    """
    target = file.parent.name
    if target in READERS:
        return coverage.replay(target, file)
    if target == triton.TARGET:
        return triton.replay(file)
    calls = json.loads(file.read_text(encoding="utf-8"))["calls"]
    with running_service(target) as service:
        again = ServiceRun(target, service)
        again.replay([Request.from_json(call) for call in calls])
    for finding in again.findings:
        print(f"{target}: {finding.what}")
    return not again.findings


@contextlib.contextmanager
def running_service(target: str) -> Iterator[ServiceProcess]:
    """A service for a target: with encoders where images are to be decoded."""
    with contextlib.ExitStack() as stack:
        scratch = tempfile.TemporaryDirectory(prefix="slidekin-fuzz-")
        folder = Path(stack.enter_context(scratch))
        overrides: dict[str, object] = {"limits": LIMITS}
        if target == "rpc-images":
            overrides["model"] = {"bundle": str(write_bundle(folder / "bundle"))}
            overrides["triton"] = {"url": stack.enter_context(quick_encoder())}
        service = ServiceProcess(folder / "run", overrides, codes_only=target != "rpc-images")
        stack.callback(_end, service)
        yield service


def _end(service: ServiceProcess) -> None:
    if service.process is not None:
        service.kill()
