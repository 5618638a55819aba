"""Labelled tiles on disk: which there are, and what they show."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from slidekin.evaluation._errors import EvaluationError

TILE_PX = 1024
"""What tiles are scaled to, as the SISH paper did in its experiments with patches."""
_SUFFIXES = frozenset([".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"])
_LEAST_PX = 64
_MOST_PX = 4096
"""Sides that the service takes."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class TileFacts:
    """What a table says of a tile."""

    label: str
    patient_id: str = ""


@dataclass(frozen=True, slots=True)
class LabelledTile:
    """A tile on disk."""

    path: Path
    tile_id: str
    """Its path below the folder without suffix, ``/`` as ``.``: a slide's id in the collection."""
    label: str
    patient_id: str = ""
    """Whose it is; empty: not stated, and then it stands for a patient of its own."""

    def read(self) -> Image.Image:
        """The tile in its own size, RGB.

        Raises:
            EvaluationError: It cannot be read, or is no square that the service takes.
        """
        try:
            with Image.open(self.path) as image:
                image.load()
                tile = image.convert("RGB")
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise EvaluationError(
                f"{self.path}: cannot be read as a picture ({error}): copy it again, or move "
                "it away"
            ) from error
        if tile.width != tile.height or not _LEAST_PX <= tile.width <= _MOST_PX:
            raise EvaluationError(
                f"{self.path}: {tile.width} x {tile.height} px; a tile is a square of {_LEAST_PX} "
                f"to {_MOST_PX} px: crop it"
            )
        return tile


def png(image: Image.Image) -> bytes:
    """A picture without loss, quickly."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def scaled(tile: Image.Image) -> Image.Image:
    """A tile as the networks see it: 1024 x 1024 px, bicubic, as the service does it."""
    if tile.size == (TILE_PX, TILE_PX):
        return tile
    return tile.resize((TILE_PX, TILE_PX), Image.Resampling.BICUBIC)


def find_tiles(
    folder: Path,
    *,
    pattern: str | None = None,
    table: Mapping[str, TileFacts] | None = None,
) -> tuple[list[LabelledTile], list[Path]]:
    """The labelled tiles of a folder and all beneath it, by name, and those without a label.

    The label comes from ``table`` where it is given, else from ``pattern``, else from the tile's
    first folder below ``folder``.

    Args:
        folder: Where to look.
        pattern: Regular expression with the group ``label`` and perhaps ``patient``, searched in
            the tile's path below the folder, for example ``_label_(?P<label>[0-9])``.
        table: Facts by tile id, file name, or file name without suffix.

    Raises:
        EvaluationError: No pictures, no label on any, the pattern cannot be used, or two tiles
            have one id.
    """
    paths = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file()
    )
    if not paths:
        raise EvaluationError(
            f"{folder}: no pictures ({', '.join(sorted(_SUFFIXES))}) in it or beneath it"
        )
    expression = _compiled(pattern) if pattern is not None else None
    tiles: list[LabelledTile] = []
    without: list[Path] = []
    for path in paths:
        relative = path.relative_to(folder)
        tile_id = ".".join(relative.with_suffix("").parts)
        if table is not None:
            facts = table.get(tile_id) or table.get(path.name) or table.get(path.stem)
        elif expression is not None:
            facts = _from_name(expression, relative.as_posix())
        else:
            facts = TileFacts(relative.parts[0]) if len(relative.parts) > 1 else None
        if facts is None or not facts.label:
            without.append(path)
        else:
            tiles.append(LabelledTile(path, tile_id, facts.label, facts.patient_id))
    if not tiles:
        raise EvaluationError(
            f"{folder}: none of its {len(paths)} pictures has a label "
            f"({_names(paths, folder)}): give --pattern, a regular expression with the group "
            "'label' for their names, or --labels, a CSV; or put them into a folder for each label"
        )
    _check_ids(tiles)
    return tiles, without


def _from_name(expression: re.Pattern[str], name: str) -> TileFacts | None:
    match = expression.search(name)
    if match is None:
        return None
    groups = match.groupdict()
    return TileFacts(groups["label"] or "", groups.get("patient") or "")


def _compiled(pattern: str) -> re.Pattern[str]:
    cure = "give a regular expression with the group 'label', as in '_label_(?P<label>[0-9])'"
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise EvaluationError(f"pattern {pattern!r}: {error}; {cure}") from None
    if "label" not in expression.groupindex:
        raise EvaluationError(f"pattern {pattern!r} has no group 'label'; {cure}")
    return expression


def _check_ids(tiles: Iterable[LabelledTile]) -> None:
    seen: dict[str, Path] = {}
    for tile in tiles:
        first = seen.setdefault(tile.tile_id, tile.path)
        if first is not tile.path:
            raise EvaluationError(
                f"{first} and {tile.path} would both be called {tile.tile_id}: rename one"
            )


def _names(paths: Sequence[Path], folder: Path) -> str:
    shown = ", ".join(path.relative_to(folder).as_posix() for path in paths[:_SHOWN])
    return shown + (", ..." if len(paths) > _SHOWN else "")
