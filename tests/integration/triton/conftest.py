from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.paths import golden_dir
from tests.triton_stack import (
    TritonState,
    build_demo_bundle,
    build_golden_bundle,
    running_triton,
    why_no_triton,
)


@pytest.fixture(scope="session", autouse=True)
def triton_environment() -> None:
    reason = why_no_triton()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def golden() -> Path:
    folder = golden_dir()
    if folder is None:
        pytest.skip("no golden files: set SLIDEKIN_GOLDEN to their folder")
    return folder


@pytest.fixture(scope="session")
def demo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_demo_bundle(tmp_path_factory.mktemp("demo") / "bundle")


@pytest.fixture(scope="session")
def triton(demo_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonState]:
    """A Triton that serves the demo's pair, shared by the tests that only ask it."""
    with running_triton(demo_bundle, tmp_path_factory.mktemp("run")) as state:
        yield state


@pytest.fixture(scope="session")
def golden_triton(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonState]:
    """A Triton that serves SISH's pair with the golden weights, and keeps its answers."""
    folder = tmp_path_factory.mktemp("golden")
    bundle = build_golden_bundle(golden, folder / "bundle")
    with running_triton(bundle, folder / "run", "--response-cache-mib=64") as state:
        yield state
