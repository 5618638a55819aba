from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slidekin.cli import app

runner = CliRunner()
NOBODY = ["--server", "127.0.0.1:1"]


@pytest.fixture(autouse=True)
def _no_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SLIDEKIN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SLIDEKIN_SERVER", raising=False)
    monkeypatch.delenv("SLIDEKIN_SERVER__TRACING__ENDPOINT", raising=False)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["search", "-c", "a"], "--stored"),
        (["search", "x.svs", "--stored", "s", "-c", "a"], "--stored"),
        (["search", "--stored", "s", "--region", "0,0,1,1", "-c", "a"], "no --region"),
        (["search", "x.svs", "-c", "a", "--region", "1,2,3"], "x,y,width,height"),
        (["search", "x.svs", "-c", "a", "--mode", "fast"], "'fast'"),
        (["search", "x.svs", "-c", "a", "-k", "0"], "k"),
        (["search", "x.svs", "-c", "a/b"], "names no collection"),
        (["search", "x.svs", "-c", "a", "--filter", "=x"], "NAME=VALUE"),
        (["search", "x.svs", "-c", "a", "--html", "/nowhere/at/all.html"], "not a folder"),
        (["search", "x.svs"], "--collection"),
        (["ingest", "/dev/null/nothing", "-c", "a", "--profile", "mine"], "'mine'"),
        (["slides", "label", "s", "-c", "a"], "--attribute"),
        (["slides", "label", "s", "-c", "a", "--attribute", "x"], "NAME=VALUE"),
        (["slides", "get", "a/b", "-c", "a"], "no slide id"),
        (["up", "--models", "/no/such.yaml"], "no file"),
        (["up", "--models", __file__, "--bundle", "b"], "either"),
        (["up", "--trace-url", "http://h:4318/v1/traces"], "SLIDEKIN_SERVER__TRACING__ENDPOINT"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(arguments: list[str], told: str):
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert told in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_a_folder_without_slides_is_wrong_usage(tmp_path: Path):
    result = runner.invoke(app, ["ingest", str(tmp_path), "-c", "a", *NOBODY])
    assert result.exit_code == 2
    assert "no slides in" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["collections", "list"],
        ["slides", "list", "a"],
        ["slides", "delete", "s", "-c", "a", "--yes"],
        ["search", "--stored", "s", "-c", "a"],
        ["search", "x.svs", "-c", "a"],
        ["ingest", __file__, "-c", "a"],
    ],
)
def test_a_service_that_is_not_there_ends_with_1_and_one_line(arguments: list[str]):
    result = runner.invoke(app, [*arguments, *NOBODY])
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("error: no slidekin service answers at 127.0.0.1:1")
    assert len(result.stderr.strip().splitlines()) <= 2


def test_a_real_process_ends_with_the_same_codes_and_without_traceback():
    command = [sys.executable, "-m", "slidekin.cli"]
    for arguments, code in ([["status", *NOBODY], 1], [["search"], 2], [["--help"], 0]):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


def test_up_without_networks_says_how_to_choose_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLIDEKIN_TRITON_PYTHON", sys.executable)
    result = runner.invoke(app, ["up"])
    assert result.exit_code == 1
    assert "--models FILE.yaml" in result.stderr
    assert "--bundle DIR" in result.stderr


def test_up_without_tritons_environment_names_the_cure(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLIDEKIN_TRITON_PYTHON", "/no/python")
    result = runner.invoke(app, ["up", "--bundle", "b"])
    assert result.exit_code == 1
    assert "/no/python" in result.stderr
    assert "make env" in result.stderr


def test_down_with_nothing_running_is_fine():
    result = runner.invoke(app, ["down"])
    assert result.exit_code == 0
    assert "nothing runs" in result.output
