from __future__ import annotations

from pathlib import Path

import pytest
from tests.triton_stack import build_demo_bundle

from slidekin_models.weights import directories
from slidekin_models.weights.packaged import PACKAGED


@pytest.fixture(scope="session")
def demo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_demo_bundle(tmp_path_factory.mktemp("demo") / "bundle")


@pytest.fixture(scope="session")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("lite0")
    directories.write_packaged_texture(directory, PACKAGED["efficientnet-lite0"])
    return directory
