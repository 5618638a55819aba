"""Evaluating labelled tiles: each one a slide of one patch, in a collection for the while."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterator, Sequence

from slidekin._exceptions import SlidekinError
from slidekin._sync import Client
from slidekin._types import ImagePatch, Slide
from slidekin.evaluation._errors import EvaluationError
from slidekin.evaluation._evaluate import BASELINE, evaluate_slides
from slidekin.evaluation._histogram import PatchHistograms
from slidekin.evaluation._queries import Tell
from slidekin.evaluation._tiles import LabelledTile, png, scaled
from slidekin.evaluation._values import Evaluation, EvaluationSettings, Subject
from slidekin.slides import image_thumbnail
from slidekin.slides._parallel import ordered_map

THUMBNAIL_PX = 160
TEMPORARY_PREFIX = "evaluate-tiles-"

_log = logging.getLogger(__name__)


def evaluate_tiles(
    client: Client,
    tiles: Sequence[LabelledTile],
    settings: EvaluationSettings | None = None,
    *,
    title: str = "Labelled tiles",
    progress: Tell | None = None,
) -> Evaluation:
    """Encode labelled tiles through the service and evaluate them, with the colour baseline.

    The collection that holds them is deleted at the end, also where the run is interrupted.

    Args:
        client: The service; its networks have to be ready.
        tiles: See `find_tiles`.
        settings: Ks, modes, search options.
        title: What they are, for people.
        progress: Told the stage (``encode``, a mode, ``histogram``), what is done, how much
            there is.

    Raises:
        EvaluationError: A tile cannot be used, or there is nothing to evaluate.
    """
    settings = settings or EvaluationSettings()
    tell: Tell = progress or (lambda _stage, _done, _total: None)
    if len({tile.label for tile in tiles}) < 2:
        raise EvaluationError(
            f"{title}: the tiles have fewer than two labels, so there is nothing to tell apart"
        )
    with _temporary_collection(client) as collection:
        histograms: dict[str, PatchHistograms] = {}

        def add(tile: LabelledTile) -> tuple[str, PatchHistograms]:
            image = tile.read()
            name = f"{collection}/slides/{tile.tile_id}"
            thumbnail = image_thumbnail(image, THUMBNAIL_PX)
            client.add_slide_images(
                Slide(
                    name,
                    patient_id=tile.patient_id,
                    label=tile.label,
                    width_px=image.width,
                    height_px=image.height,
                    patch_size_px=image.width,
                ),
                [ImagePatch(0, 0, png(image), "png", thumbnail=thumbnail)],
                thumbnail=thumbnail,
            )
            return name, PatchHistograms.of([(0, 0)], [scaled(image)])

        tell("encode", 0, len(tiles))
        added = ordered_map(add, tiles, workers=settings.jobs)
        with contextlib.closing(added):  # type: ignore[type-var] # ends the threads before the collection goes
            for done, (name, made) in enumerate(added, start=1):
                histograms[name] = made
                tell("encode", done, len(tiles))

        def held(subjects: Sequence[Subject]) -> list[PatchHistograms]:
            tell(BASELINE, len(subjects), len(subjects))
            return [histograms[subject.name] for subject in subjects]

        return evaluate_slides(
            client,
            client.get_collection(collection),
            {slide.name: slide for slide in client.list_slides(collection)},
            settings,
            histograms=held,
            progress=tell,
            title=title,
        )


@contextlib.contextmanager
def _temporary_collection(client: Client) -> Iterator[str]:
    """The resource name of a collection that is gone afterwards."""
    collection_id = f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}"
    created = client.create_collection(
        collection_id,
        display_name="Tiles under evaluation",
        description="Made by `slidekin evaluate-tiles`, which deletes it at its end.",
    )
    try:
        yield created.name
    finally:
        try:
            client.delete_collection(created.name, force=True)
        except SlidekinError as error:
            # What went wrong before matters more than this; but nobody should wonder later.
            _log.warning("collection %s could not be deleted: %s", collection_id, error)
