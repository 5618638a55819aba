"""Reads the settings from a file and the environment, and names what is wrong with them."""

from __future__ import annotations

import difflib
import os
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from slidekin_server.config.errors import ConfigError
from slidekin_server.config.settings import Settings
from slidekin_server.plain_yaml import load_yaml

ENVIRONMENT_PREFIX = "SLIDEKIN_SERVER__"
FILE_VARIABLE = "SLIDEKIN_SERVER_CONFIG"


def load_settings(
    file: Path | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Read, merge and check the settings.

    Args:
        file: YAML file; None takes the one that ``SLIDEKIN_SERVER_CONFIG`` names, if any.
        environment: Environment variables; None takes the process's own.

    Raises:
        ConfigError: For everything that is wrong, one line for each problem.
    """
    if environment is None:
        environment = os.environ
    if file is None and environment.get(FILE_VARIABLE):
        file = Path(environment[FILE_VARIABLE])
    problems: list[str] = []
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if file is not None:
        _read_file(file, values, origins, problems)
    _read_environment(environment, values, origins, problems)
    if problems:
        raise ConfigError(tuple(problems))
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(tuple(_problem(one, origins) for one in error.errors())) from None


def _options(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Paths of all options, such as ``search.default_profile.min_hits``."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _options(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _cure(path: str) -> str:
    options = list(_options(Settings))
    near = difflib.get_close_matches(path, options, n=1)
    # A right name in the wrong section lies far off as a path.
    name = path.rpartition(".")[2]
    near = near or [option for option in options if option.rpartition(".")[2] == name]
    return f"did you mean '{near[0]}'?" if near else "default.yaml lists every option"


def _set(values: dict[str, Any], path: str, value: object) -> None:
    *sections, name = path.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[name] = value


def _read_file(
    file: Path, values: dict[str, Any], origins: dict[str, str], problems: list[str]
) -> None:
    try:
        content = load_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{file}: cannot be read ({error.strerror}): name an existing YAML file")
        return
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a nest, 2026-02-30
        problems.append(f"{file}: is not valid YAML: {' '.join(str(error).split())}")
        return
    known = set(_options(Settings))
    sections = {path.rpartition(".")[0] for path in known}

    def walk(part: object, path: str) -> None:
        if path in known:
            _set(values, path, part)
            origins[path] = str(file)
        elif path in sections:
            if isinstance(part, dict):
                for key, value in part.items():
                    walk(value, f"{path}.{key}" if path else str(key))
            elif part is not None:  # a section whose options are all commented out is None
                problems.append(
                    f"{file}: '{path}' is {_shown(part)}: it must be a section of options"
                )
        else:
            problems.append(f"{file}: unknown key '{path}': {_cure(path)}")

    walk(content, "")


def _read_environment(
    environment: Mapping[str, str],
    values: dict[str, Any],
    origins: dict[str, str],
    problems: list[str],
) -> None:
    known = set(_options(Settings))
    for name, value in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        path = name.removeprefix(ENVIRONMENT_PREFIX).replace("__", ".").lower()
        if path in known:
            _set(values, path, value)
            origins[path] = name
        else:
            problems.append(f"{name}: unknown option '{path}': {_cure(path)}")


def _shown(value: object) -> str:
    """A value, cut where it is long: with aliases, a small file states gigabytes."""
    short = reprlib.Repr()
    short.maxlevel = 2
    short.maxstring = short.maxother = 200
    try:
        return short.repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a very long number"


def _problem(error: ErrorDetails, origins: Mapping[str, str]) -> str:
    path = ".".join(str(part) for part in error["loc"])
    what = error["msg"].removeprefix("Value error, ")
    if not path:  # a rule over several sections
        return what
    if path not in origins:  # a rule over several options of a section
        return f"{path}: {what}"
    return f"{origins[path]}: '{path}' is {_shown(error['input'])}: {what[0].lower()}{what[1:]}"
