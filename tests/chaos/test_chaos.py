"""A few faults of ``make chaos``, on real services with TLS, in a network of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.chaos.namespaces import why_no_namespaces
from tests.paths import PROJECT
from tests.service_process import service_environment

FAULTS = ("service-killed", "network-cut-seen", "certificate-replaced")
SEED = 20260101


@pytest.mark.timeout(240)
def test_whatever_breaks_acknowledged_slides_are_there_and_failures_say_why(tmp_path: Path):
    reason = why_no_namespaces()
    if reason:
        pytest.skip(reason)
    lines = tmp_path / "lines.jsonl"
    command = [sys.executable, "-m", "tests.chaos", "--minutes=0", "--no-triton", f"--seed={SEED}"]
    command += [f"--out={lines}", "--faults", *FAULTS]
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env=service_environment(),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout
    written = [json.loads(line) for line in lines.read_text().splitlines()]
    faults = [line for line in written if line["line"] == "fault"]
    assert len(faults) == len(FAULTS)
    for fault in faults:
        assert None not in fault["recovery_s"].values()
    (killed,) = [fault for fault in faults if fault["name"] == "service killed"]
    assert any(told.startswith("UNAVAILABLE") for told in killed["failed"])
    assert written[-1]["line"] == "end"
    assert written[-1]["slides"] > 0
