"""The golden files through gRPC, and a check that the check can fail."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.golden_run import main
from tests.paths import golden_dir


@pytest.fixture(scope="module")
def golden() -> Path:
    folder = golden_dir()
    if folder is None:
        pytest.skip("no golden files: set SLIDEKIN_GOLDEN to their folder")
    return folder


def test_every_golden_query_is_equal_through_grpc(
    golden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(golden)]) == 0
    printed = capsys.readouterr().out.splitlines()
    databases = [file.name.removesuffix(".json.gz") for file in golden.glob("*.json.gz")]
    assert len(printed) == len(databases) + 1
    for name in databases:
        text = json.loads(gzip.decompress((golden / f"{name}.json.gz").read_bytes()))
        total = len(text["queries"])
        assert f"golden {name}: {total} of {total} queries equal" in printed


def test_a_single_wrong_number_is_found(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(golden / "sparse.npz", tmp_path)
    text = json.loads(gzip.decompress((golden / "sparse.json.gz").read_bytes()))
    queries = text["queries"]
    with_hits = [number for number, query in enumerate(queries) if any(query["hits"])]
    next(bag for bag in queries[with_hits[0]]["hits"] if bag)[0][1] += 1
    queries[with_hits[1]]["ranking"]["hamming_threshold"] += 1e-9
    (tmp_path / "sparse.json.gz").write_bytes(gzip.compress(json.dumps(text).encode()))
    with np.load(golden / "keys.npz") as keys:
        wrong = keys["key"].copy()
        wrong[0] += 1
        np.savez(
            tmp_path / "keys.npz",
            codes=keys["codes"],
            semantic_order=keys["semantic_order"],
            key=wrong,
        )
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    total = len(queries)
    assert f"golden sparse: {total - 2} of {total} queries equal" in printed
    assert f"golden keys: {len(wrong) - 1} of {len(wrong)} keys equal" in printed


def test_a_folder_without_golden_files_fails(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1
    with pytest.raises(SystemExit):
        main([str(tmp_path / "missing")])
