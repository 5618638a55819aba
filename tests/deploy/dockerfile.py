"""A Dockerfile as its stages: just enough of the language for the one that is ours."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Instruction:
    name: str
    text: str

    def words(self) -> list[str]:
        """Of the JSON form or the plain one, options left out."""
        if self.text.startswith("["):
            return json.loads(self.text)
        return [word for word in shlex.split(self.text) if not word.startswith("--")]

    def option(self, name: str) -> str | None:
        found = re.search(rf"--{name}=(\S+)", self.text)
        return found[1] if found else None


@dataclass(frozen=True, slots=True)
class Stage:
    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        return [one for one in self.instructions if one.name == name]

    def last(self, name: str) -> Instruction:
        return self.all(name)[-1]

    def environment(self) -> dict[str, str]:
        words = [word for one in self.all("ENV") for word in one.words()]
        return dict(word.split("=", 1) for word in words)


def read_stages(path: Path) -> dict[str, Stage]:
    """The stages by name, with the defaults of the arguments before them filled in."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if not line.strip():
            continue
        name, _, rest = line.partition(" ")
        if name == "FROM":
            base, _, stage = rest.partition(" AS ")
            base = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], base)
            stages[stage] = Stage(base, stage)
        elif stages:
            stages[list(stages)[-1]].instructions.append(Instruction(name, rest.strip()))
        else:
            argument, _, default = rest.partition("=")
            arguments[argument] = default
    return stages
