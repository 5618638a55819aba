"""Filters as they are written on a command line."""

from __future__ import annotations

from collections.abc import Iterable

import typer


def parse_filter(conditions: Iterable[str]) -> tuple[list[str], dict[str, list[str]]]:
    """``label=x`` and ``stain=y`` -> labels and attributes; the same name twice admits either.

    A bare ``name`` admits slides that have the attribute, whatever its value.
    """
    labels: list[str] = []
    attributes: dict[str, list[str]] = {}
    for condition in conditions:
        name, given, value = condition.partition("=")
        name = name.strip()
        if not name or (name == "label" and not given):
            raise typer.BadParameter(
                f"{condition!r} is not NAME=VALUE, for example label=carcinoma or stain=HE",
                param_hint="--filter",
            )
        if name == "label":
            labels.append(value)
        else:
            values = attributes.setdefault(name, [])
            if given:
                values.append(value)
    return labels, attributes


def parse_attributes(pairs: Iterable[str]) -> dict[str, str]:
    """``name=value`` pairs."""
    attributes: dict[str, str] = {}
    for pair in pairs:
        name, given, value = pair.partition("=")
        if not given or not name.strip():
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--attribute")
        attributes[name.strip()] = value
    return attributes
