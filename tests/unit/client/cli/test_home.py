from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slidekin.cli._home import Process, Stack, default_home, read_stack, started_at, write_stack


def test_a_stack_is_read_as_it_was_written(tmp_path: Path):
    stack = Stack(Process(1, 2), Process(3, 4), "127.0.0.1:5", "http://127.0.0.1:6/metrics", "ab")
    write_stack(tmp_path, stack)
    assert read_stack(tmp_path) == stack
    write_stack(tmp_path, None)
    assert read_stack(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 99}'])
def test_a_file_that_is_not_ours_says_nothing(tmp_path: Path, content: str):
    (tmp_path / "stack.json").write_text(content)
    assert read_stack(tmp_path) is None


def test_a_process_is_told_apart_from_a_later_one_of_its_number():
    own = started_at(os.getpid())
    assert own is not None
    assert Process(os.getpid(), own).alive()
    assert not Process(os.getpid(), own + 1).alive()


def test_a_process_that_ended_is_not_alive_even_where_nobody_asked_for_its_exit_code():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = Process(child.pid, started_at(child.pid) or 0)
    assert process.alive()
    child.stdin.close()
    # Its end is waited for without collecting it: it stays as a zombie.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process.alive()
    child.wait()


def test_the_home_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SLIDEKIN_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert default_home() == tmp_path / "own"
    monkeypatch.delenv("SLIDEKIN_HOME")
    assert default_home() == tmp_path / "xdg" / "slidekin"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_home() == Path.home() / ".local" / "state" / "slidekin"
