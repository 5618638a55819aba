from __future__ import annotations

import json
import subprocess
from pathlib import Path

import psutil
import pytest
from tests.drawing import PATTERNS
from tests.paths import PROJECT


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that the demo wrote, and what it printed."""
    out = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [PROJECT / "deploy/demo/demo.sh", out], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"the demo failed:\n{done.stdout}\n{done.stderr}"
    return out, done.stdout


@pytest.mark.timeout(900)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_drawn_pattern_finds_its_own_at_ranks_1_to_3(demo: tuple[Path, str], pattern: str):
    out, _ = demo
    answer = json.loads((out / f"{pattern}.json").read_text())
    labels = [slide["label"] for slide in answer["slides"][:3]]
    assert labels == [pattern] * 3


def test_no_slide_of_the_excluded_patient_comes_back(demo: tuple[Path, str]):
    out, _ = demo
    answer = json.loads((out / "glands.json").read_text())
    assert len(answer["slides"]) == 5
    assert "glands-p1" not in {slide["patient_id"] for slide in answer["slides"]}


def test_the_demo_needs_no_random_weights(demo: tuple[Path, str]):
    out, _ = demo
    assert not any(
        json.loads((out / f"{name}.json").read_text())["random_weights"] for name in PATTERNS
    )


def test_the_report_is_one_self_contained_page(demo: tuple[Path, str]):
    page = (demo[0] / "report.html").read_text()
    assert page.count("data:image/") > 10
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_the_demo_stops_what_it_started(demo: tuple[Path, str]):
    out, _ = demo
    left = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(str(out) in part for part in process.info["cmdline"] or [])
    ]
    assert left == []
