"""The label file: which slide is whose and shows what."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slidekin.cli._common import CommandError

_KNOWN = ("slide", "patient", "label")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Labelled:
    """What the file says of one slide."""

    line: int
    """Line of the file, from 1."""
    patient_id: str = ""
    """Whose slide it is."""
    label: str = ""
    """What it shows."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Every further column that is not empty."""


def read_labels(file: Path) -> dict[str, Labelled]:
    """Reads a CSV file with the columns slide, patient, label, and any others as attributes.

    The delimiter may be a comma, a semicolon or a tab. ``patient`` and ``label`` may be empty in a
    row; ``slide`` names a slide by its id or by its file's name.

    Raises:
        CommandError: The file cannot be used; names the line and the cure.
    """
    text = _decode(file)
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey="")
    labels: dict[str, Labelled] = {}
    try:
        columns = [(name or "").strip().lower() for name in reader.fieldnames or ()]
        _check_columns(file, columns)
        reader.fieldnames = columns
        for row in reader:
            _read_row(file, reader.line_num, row, labels)
    except csv.Error as error:
        raise CommandError(f"{file}, line {reader.line_num}: not a CSV row: {error}") from None
    return labels


def unknown_slides(labels: Mapping[str, Labelled], known: Collection[str]) -> list[tuple[str, int]]:
    """Slides that the file names and nobody knows, with their lines."""
    return [(slide, row.line) for slide, row in labels.items() if slide not in known]


def _read_row(
    file: Path, line: int, row: Mapping[str, str | list[str] | None], labels: dict[str, Labelled]
) -> None:
    if row.get(""):
        raise CommandError(
            f"{file}, line {line}: more fields than columns; put values that hold the delimiter "
            "in double quotes"
        )
    values = {name: str(value or "").strip() for name, value in row.items()}
    slide = values["slide"]
    if not slide:
        if any(values.values()):
            raise CommandError(f"{file}, line {line}: names no slide in the column 'slide'")
        return  # a line of empty cells, as spreadsheets leave them
    if slide in labels:
        raise CommandError(
            f"{file}, line {line}: slide '{slide}' is named in line {labels[slide].line} already; "
            "leave one of them"
        )
    labels[slide] = Labelled(
        line=line,
        patient_id=values["patient"],
        label=values["label"],
        attributes={
            name: value for name, value in values.items() if name and name not in _KNOWN and value
        },
    )


def _check_columns(file: Path, columns: list[str]) -> None:
    if not any(columns):
        raise CommandError(
            f"{file}: is empty; its first line must name the columns {', '.join(_KNOWN)}"
        )
    missing = [name for name in _KNOWN if name not in columns]
    if missing:
        raise CommandError(
            f"{file}: the first line must name the columns {', '.join(_KNOWN)}; there is no "
            f"{' and no '.join(map(repr, missing))} among {', '.join(map(repr, columns))}"
        )
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise CommandError(f"{file}: the first line names {', '.join(twice)} twice; rename one")


def _decode(file: Path) -> str:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise CommandError(f"{file}: there is no such file: check --labels") from None
    if data.startswith(_UTF16_MARKS) or b"\0" in data[:200]:
        raise CommandError(
            f"{file}: looks like UTF-16 (as spreadsheets write 'Unicode text'); save it as CSV "
            f"UTF-8, or run: iconv -f UTF-16 -t UTF-8 '{file}' -o labels-utf8.csv"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise CommandError(
            f"{file}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8 (perhaps Latin-1 or "
            "Windows-1252); save it as CSV UTF-8, or run: "
            f"iconv -f WINDOWS-1252 -t UTF-8 '{file}' -o labels-utf8.csv"
        ) from None
