"""A run of one reader: its process started, watched, started again after a finding, and judged."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.child import COUNTER, count_of
from tests.fuzz.readers.all import READERS
from tests.fuzz.results import Finding, Result
from tests.fuzz.service import growth
from tests.paths import PROJECT
from tests.service_process import service_environment

_MOST_FINDINGS = 3
"""A reader that fails more often is mended first."""
_SHARE_READ_AGAIN = 0.25
"""Of the inputs, beside them: the turn that measures memory."""
_TIMEOUT_S = 1800
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_PRESENT = re.compile(r"found-(crash|timeout|oom|leak|slow-unit)-")


@dataclass
class ReaderRun:
    """One reader and what was done to it."""

    name: str
    number: int
    """The seed."""
    _made: int = 0
    _reached: str = ""
    _findings: list[Finding] = field(default_factory=list)

    def run(self, inputs: int) -> Result:
        """Have so many inputs made and read."""
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="slidekin-fuzz-") as scratch:
            folder = Path(scratch)
            corpus = folder / "corpus"
            corpus.mkdir()
            for place, seed in enumerate(READERS[self.name].seeds()):
                (corpus / f"seed-{place:02}").write_bytes(seed)
            while self._made < inputs and len(self._findings) < _MOST_FINDINGS:
                before = self._made
                self._make(folder, inputs - self._made)
                if self._made == before:
                    break
            again = self._read_again(folder, max(200, round(inputs * _SHARE_READ_AGAIN)))
        return Result(
            target=self.name,
            seed=self.number,
            inputs=self._made,
            seconds=round(time.monotonic() - started, 1),
            findings=tuple(self._findings),
            memory_growth_mib=again,
            depth=self._reached,
        )

    def _make(self, folder: Path, runs: int) -> None:
        number = self.number + self._made
        ended = _child("make", self.name, folder, f"--runs={runs}", f"--seed={number}")
        self._made = count_of(folder / COUNTER)
        for reached in _COVERAGE.finditer(ended.stderr):
            self._reached = f"{reached[1]} branches, {reached[3]} inputs that reached new ones"
        for file in sorted(folder.glob("found-*")):
            kind = {"timeout": "hang", "crash": "crash"}.get(
                (_PRESENT.match(file.name) or ["", "crash"])[1], "crash"
            )
            why = _why(ended)
            self._findings.append(Finding(self.name, f"{kind}: {why}", data=file.read_bytes()))
            file.unlink()
        if ended.returncode and not self._findings:
            self._findings.append(Finding(self.name, f"crash: {_why(ended)}"))

    def _read_again(self, folder: Path, runs: int) -> float | None:
        ended = _child("read-again", self.name, folder, f"--runs={runs}", f"--seed={self.number}")
        if ended.returncode:
            self._findings.append(Finding(self.name, f"crash: read again: {_why(ended)}"))
            return None
        return growth(json.loads(ended.stdout.splitlines()[-1]))


def replay(name: str, file: Path) -> bool:
    """Read one input in a process of its own; whether nothing is wrong with it."""
    ended = _child("read-one", name, file)
    print(ended.stdout, ended.stderr, sep="", end="")
    return ended.returncode == 0


def _child(turn: str, name: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    reader = f"{READERS[name].read.__module__}:{name}"
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz.child", turn, reader, str(folder), *options],
        cwd=PROJECT,
        env={
            **service_environment(),
            # Atheris ends a process without a word to it: what it left behind goes with the folder.
            **({"TMPDIR": str(folder)} if folder.is_dir() else {}),
            "PYTHONPATH": os.pathsep.join(str(PROJECT / part) for part in ("", "client", "server")),
        },
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_TIMEOUT_S,
        check=False,
    )


def _why(ended: subprocess.CompletedProcess[str]) -> str:
    """The line that says what was raised, and where."""
    lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    raised = [
        line for line in lines if re.match(r"[\w.]+(Error|Exception|Warning)\b|==\d+==", line)
    ]
    places = [line for line in lines if line.startswith("File ")]
    said = raised[-1] if raised else (lines[-1] if lines else "nothing was said")
    return f"{said} ({places[-1] if places else 'no frame'}; exit code {ended.returncode})"
