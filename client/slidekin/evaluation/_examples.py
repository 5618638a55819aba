"""Examples for a report: which queries to show, and what their slides look like."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from slidekin._exceptions import NotFoundError, SlidekinError
from slidekin._sync import Client
from slidekin.evaluation._files import SlideFiles
from slidekin.evaluation._measures import average_precision, majority_label
from slidekin.evaluation._tiles import LabelledTile
from slidekin.evaluation._values import Answer, Evaluation, MethodResult

THUMBNAIL_PX = 160
_SLIDE_PX = 320

Patch = tuple[str, int, tuple[int, int]]
"""Slide name, index of the patch, its corner in level-0 pixels."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Queries of one method worth a look."""

    good: tuple[Answer, ...]
    """Right by vote, most precise first."""
    bad: tuple[Answer, ...]
    """Wrong by vote, least precise first."""


@dataclass(frozen=True, slots=True)
class ExamplePictures:
    """JPEGs for the examples; what is missing has no entry."""

    slides: Mapping[str, bytes] = field(default_factory=dict)
    """Whole slides, by name."""
    patches: Mapping[tuple[str, int], bytes] = field(default_factory=dict)
    """Patches, by slide name and index."""


class PictureSource(Protocol):
    """Where pictures come from."""

    def pictures(self, slides: Sequence[str], patches: Sequence[Patch]) -> ExamplePictures:
        """Those of the wanted ones that can be had."""


def choose_examples(result: MethodResult, k: int, number: int) -> Examples:
    """Up to ``number`` good and as many bad ones, each of a label not shown yet where it can be.

    The same answers always give the same examples.
    """

    def precision(answer: Answer) -> float:
        return average_precision(answer.labels, answer.subject.label, k)

    right = [a for a in result.answers if majority_label(a.labels, k) == a.subject.label]
    wrong = [a for a in result.answers if majority_label(a.labels, k) != a.subject.label]
    return Examples(
        good=_varied(sorted(right, key=lambda answer: -precision(answer)), number),
        bad=_varied(sorted(wrong, key=precision), number),
    )


def fetch_example_pictures(evaluation: Evaluation, source: PictureSource) -> ExamplePictures:
    """The pictures that a report of this evaluation shows."""
    slides: dict[str, None] = {}
    patches: dict[tuple[str, int], tuple[int, int]] = {}
    settings = evaluation.settings
    for result in evaluation.methods:
        chosen = choose_examples(result, settings.longest, settings.examples)
        for answer in (*chosen.good, *chosen.bad):
            slides.setdefault(answer.subject.name)
            for found in answer.found:
                if found.pair is not None:
                    pair = found.pair
                    patches[answer.subject.name, pair.query_index] = pair.query_xy
                    patches[found.name, pair.found_index] = pair.found_xy
    return source.pictures(
        list(slides), [(name, index, xy) for (name, index), xy in patches.items()]
    )


class KeptPictures:
    """Pictures that the service keeps."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def pictures(self, slides: Sequence[str], patches: Sequence[Patch]) -> ExamplePictures:
        """Those of the wanted ones that were sent when the slides were added."""
        found_slides: dict[str, bytes] = {}
        found_patches: dict[tuple[str, int], bytes] = {}
        for name, wanted in _by_slide(slides, patches).items():
            # A slide that was deleted since it was found has no pictures.
            with contextlib.suppress(NotFoundError):
                kept = self._client.get_thumbnails(
                    name, patch_indices=sorted(wanted), slide_thumbnail=name in slides
                )
                if kept.slide is not None:
                    found_slides[name] = kept.slide
                found_patches |= {(name, index): data for index, data in kept.patches.items()}
        return ExamplePictures(found_slides, found_patches)


class FilePictures:
    """Pictures read from the slides on disk; where that fails, those that the service keeps.

    Args:
        client: The service.
        collection: Where the slides are held.
        paths: By slide id, the slides on disk.
    """

    def __init__(self, client: Client, collection: str, paths: Mapping[str, Path]) -> None:
        slides = {slide.name: slide for slide in client.list_slides(collection)}
        self._files = SlideFiles(paths, slides, {})
        self._kept = KeptPictures(client)

    def pictures(self, slides: Sequence[str], patches: Sequence[Patch]) -> ExamplePictures:
        """The wanted ones."""
        from slidekin.slides import image_thumbnail, patch_thumbnail  # noqa: PLC0415

        found_slides: dict[str, bytes] = {}
        found_patches: dict[tuple[str, int], bytes] = {}
        for name, wanted in _by_slide(slides, patches).items():
            # A report is no reason to stop at a slide that cannot be read.
            with contextlib.suppress(SlidekinError, OSError), self._files.open(name) as opened:
                if name in slides:
                    found_slides[name] = image_thumbnail(opened.thumbnail(_SLIDE_PX), _SLIDE_PX)
                for index, (x, y) in wanted.items():
                    image = opened.read_patch(x, y)
                    found_patches[name, index] = patch_thumbnail(image, THUMBNAIL_PX)
        kept = self._kept.pictures(
            [name for name in slides if name not in found_slides],
            [patch for patch in patches if patch[:2] not in found_patches],
        )
        return ExamplePictures({**kept.slides, **found_slides}, {**kept.patches, **found_patches})


class TilePictures:
    """Pictures of tiles: slide and patch are one."""

    def __init__(self, tiles: Iterable[LabelledTile]) -> None:
        self._tiles = {tile.tile_id: tile for tile in tiles}

    def pictures(self, slides: Sequence[str], patches: Sequence[Patch]) -> ExamplePictures:
        """The wanted ones."""
        from slidekin.slides import patch_thumbnail  # noqa: PLC0415

        made = {
            name: patch_thumbnail(self._tiles[name.rpartition("/")[2]].read(), THUMBNAIL_PX)
            for name in _by_slide(slides, patches)
        }
        return ExamplePictures(
            {name: made[name] for name in slides},
            {(name, index): made[name] for name, index, _ in patches},
        )


def _by_slide(
    slides: Sequence[str], patches: Sequence[Patch]
) -> dict[str, dict[int, tuple[int, int]]]:
    wanted: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in slides}
    for name, index, xy in patches:
        wanted.setdefault(name, {})[index] = xy
    return wanted


def _varied(answers: Sequence[Answer], number: int) -> tuple[Answer, ...]:
    """The first ones, those of labels not chosen yet before the others."""
    seen: set[str] = set()
    fresh: list[Answer] = []
    others: list[Answer] = []
    for answer in answers:
        (others if answer.subject.label in seen else fresh).append(answer)
        seen.add(answer.subject.label)
    return tuple([*fresh, *others][:number])
