"""What the site knows of slides beyond the release: a CSV file, or a pattern in their names."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slidekin_server.released.errors import ReleaseError
from slidekin_server.released.meta import MetaFacts

_COLUMNS = ("slide", "patient", "label")


@dataclass(frozen=True, slots=True)
class SlideRow:
    """One row of the file; a cell that is empty says nothing."""

    patient_id: str = ""
    label: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FactsFile:
    """Facts by slide, which win over what the release says."""

    rows: Mapping[str, SlideRow] = field(default_factory=dict)
    patient_pattern: re.Pattern[str] | None = None
    """Its first group, found in a slide's name, is the patient."""

    def of(self, slide: str, released: MetaFacts) -> SlideRow:
        """Return what is known of a slide: from its row, then from the release, then its name."""
        row = self.rows.get(slide, SlideRow())
        patient = row.patient_id or released.patient_id
        if not patient and self.patient_pattern is not None:
            found = self.patient_pattern.search(slide)
            patient = found[1] if found else ""
        return SlideRow(patient or "", row.label or released.label, row.attributes)


def read_facts(file: Path | None, patient_pattern: str | None) -> FactsFile:
    """Read the file and the pattern.

    Args:
        file: CSV in UTF-8 with the columns slide, patient, label and any others as attributes;
            None: there is none.
        patient_pattern: A regular expression with one group; None: there is none.

    Raises:
        ReleaseError: The file or the pattern cannot be used.
    """
    pattern = None
    if patient_pattern is not None:
        try:
            pattern = re.compile(patient_pattern)
        except re.error as error:
            raise ReleaseError(f"{patient_pattern!r} is no regular expression: {error}") from None
        if pattern.groups != 1:
            raise ReleaseError(
                f"{patient_pattern!r} must have one group, the patient: '^(TCGA-..-....)'"
            )
    return FactsFile({} if file is None else _read(file), pattern)


def _read(file: Path) -> dict[str, SlideRow]:
    rows: dict[str, SlideRow] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, restkey="", restval="")
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise ReleaseError(
                    f"{file}: the first line must name the columns {', '.join(_COLUMNS)}, with "
                    f"commas between them; there is no {', '.join(missing)}"
                )
            for row in reader:
                if "" in row:
                    raise ReleaseError(f"{file}, line {reader.line_num}: more fields than columns")
                values = {name: value.strip() for name, value in row.items()}
                slide = values["slide"]
                if slide in rows:
                    raise ReleaseError(
                        f"{file}, line {reader.line_num}: slide {slide!r} comes twice"
                    )
                further = {k: v for k, v in values.items() if v and k not in _COLUMNS}
                rows[slide] = SlideRow(values["patient"], values["label"], further)
    except OSError as error:
        raise ReleaseError(f"{file} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ReleaseError(f"{file} is no CSV file in UTF-8: {error}") from None
    return rows
