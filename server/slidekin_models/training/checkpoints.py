"""A run's folder: its settings, its checkpoints and its metrics.

A checkpoint is a folder that is written under another name, synced and renamed: whatever kills a
run, its newest checkpoint is complete. A run never overwrites another one.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from slidekin_models.errors import TrainingError
from slidekin_models.training.settings import TrainSettings

_SETTINGS = "settings.json"
_METRICS = "metrics.jsonl"
_LOCK = "lock"
_PREFIX = "checkpoint-"
_PART = ".part"


class RunFolder:
    """``OUT/run``: settings, metrics and checkpoints of the run that makes the model ``OUT``."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out / "run"

    @contextmanager
    def claimed(self, settings: TrainSettings) -> Iterator[None]:
        """Lock the folder for a run with these settings, new or resumed.

        Raises:
            TrainingError: The folder belongs to another run, is in use, or cannot be written.
        """
        try:
            if not self.path.is_dir() and self.out.exists() and any(self.out.iterdir()):
                msg = (
                    f"{self.out}: holds something that is not a training run: name another "
                    "directory"
                )
                raise TrainingError(msg)
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / _LOCK).open("w", encoding="utf-8")
        except OSError as error:
            msg = f"{self.out}: cannot be written: {error.strerror}"
            raise TrainingError(msg) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                msg = f"{self.out}: another process is training there: wait for it, or end it"
                raise TrainingError(msg) from error
            self._check_settings(settings)
            for part in self.path.glob(f"{_PREFIX}*{_PART}"):
                shutil.rmtree(part)
            yield

    def newest(self) -> tuple[int, Path] | None:
        """Return step and folder of the newest checkpoint."""
        found = [path for path in self.path.glob(f"{_PREFIX}*") if path.suffix != _PART]
        if not found:
            return None
        path = max(found, key=_step)
        return _step(path), path

    def part(self, step: int) -> Path:
        """Return the folder in which the checkpoint of a step is written before it is renamed."""
        return self.path / f"{_PREFIX}{step:08d}{_PART}"

    def write(self, step: int, save: Callable[[Path], None]) -> None:
        """Write the checkpoint of a step, then remove the older ones.

        Args:
            step: Number of steps done.
            save: Writes the checkpoint into the given folder.

        Raises:
            TrainingError: The disk is full or fails; the previous checkpoint is kept.
        """
        part = self.part(step)
        older = [path for path in self.path.glob(f"{_PREFIX}*") if path.suffix != _PART]
        try:
            part.mkdir(exist_ok=True)
            save(part)
            for file in part.iterdir():
                _to_disk(file)
            part.rename(part.with_suffix(""))
            _to_disk(self.path)
        # torch reports a full disk as a RuntimeError, safetensors as an error of its own.
        except Exception as error:
            shutil.rmtree(part, ignore_errors=True)
            kept = f"the checkpoint of step {_step(max(older))} stands" if older else "none stands"
            msg = (
                f"{part.with_suffix('')}: the checkpoint cannot be written ({error}); {kept}: "
                "make room (about 120 MB) and run the same command again"
            )
            raise TrainingError(msg) from error
        for path in older:
            if _step(path) != step:
                shutil.rmtree(path)

    def add_metrics(self, line: dict[str, Any]) -> None:
        """Append a line to the run's record.

        Raises:
            TrainingError: The disk is full or fails.
        """
        try:
            with (self.path / _METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            msg = (
                f"{self.path / _METRICS}: cannot be written ({error.strerror}): make room and run "
                "the same command again"
            )
            raise TrainingError(msg) from error

    def metrics(self, *, up_to_step: int | None = None) -> list[dict[str, Any]]:
        """Return the record; ``up_to_step`` drops what a killed run wrote after its checkpoint."""
        path = self.path / _METRICS
        if not path.exists():
            return []
        lines = []
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # the last line of a run that was killed, or had no disk space
                continue
            if up_to_step is None or line["step"] <= up_to_step:
                lines.append(line)
        if up_to_step is not None:
            fresh = path.with_suffix(".new")
            fresh.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
            fresh.replace(path)
        return lines

    def _check_settings(self, settings: TrainSettings) -> None:
        path = self.path / _SETTINGS
        if not path.exists():
            fresh = path.with_suffix(".new")
            fresh.write_text(settings.model_dump_json(indent=2) + "\n", encoding="utf-8")
            fresh.replace(path)
            return
        try:
            standing = TrainSettings.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            msg = f"{path}: written by another version: name another --out"
            raise TrainingError(msg) from error
        was, now = standing.model_dump(mode="json"), settings.model_dump(mode="json")
        other = [f"{key} was {was[key]}, now {now[key]}" for key in now if was[key] != now[key]]
        if other:
            msg = (
                f"{self.out}: belongs to another run ({'; '.join(other)}): name another --out, or "
                "give the same settings to go on with it"
            )
            raise TrainingError(msg)


def _step(path: Path) -> int:
    return int(path.name.removeprefix(_PREFIX))


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
