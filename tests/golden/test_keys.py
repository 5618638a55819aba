"""Keys equal those of the published program."""

from __future__ import annotations

import numpy as np
import pytest
from tests.paths import golden_dir

from slidekin_server.codes import keys_from_codes


def test_keys_equal_the_published_programs() -> None:
    folder = golden_dir()
    if folder is None:
        pytest.skip("no golden files: set SLIDEKIN_GOLDEN to their folder")
    golden = np.load(folder / "keys.npz")
    keys = keys_from_codes(golden["codes"], golden["semantic_order"])
    np.testing.assert_array_equal(keys, golden["key"])
