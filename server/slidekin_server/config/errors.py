"""What is raised where the settings cannot be used."""

from __future__ import annotations


class ConfigError(Exception):
    """The settings cannot be used; says which keys, their values and the cure."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
