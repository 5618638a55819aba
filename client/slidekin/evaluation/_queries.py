"""Asking the live index: every slide once in every mode, its own patient left out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from slidekin._exceptions import NotFoundError
from slidekin._sync import Client
from slidekin._types import RankedSlide, SearchMode, SearchResult, SlideFilter
from slidekin.evaluation._values import Answer, EvaluationSettings, Found, Pair, Subject

Tell = Callable[[str, int, int], None]
"""Told the stage, what is done, and how much there is in all."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one mode answered."""

    answers: tuple[Answer | None, ...]
    """By subject; None where the slide was deleted meanwhile."""
    median_s: float | None
    """Median time of a query by the service's clock."""
    versions: tuple[int, int]
    """First and last index version that was searched."""
    random_weights: bool


def ask(
    client: Client,
    collection: str,
    subjects: Sequence[Subject],
    mode: SearchMode,
    settings: EvaluationSettings,
    *,
    admitted_labels: Sequence[str],
    progress: Tell,
) -> Asked:
    """Search with every subject, ``settings.jobs`` at a time.

    Args:
        client: The service.
        collection: Resource name of the collection.
        subjects: Who asks.
        mode: How patches are looked for.
        settings: Everything else of the search.
        admitted_labels: Only slides of these labels are found; empty: all.
        progress: Told how far it is; the stage is the mode.
    """
    # Reading slides is no part of asking, but its bounded map over threads is what is needed.
    from slidekin.slides._parallel import ordered_map  # noqa: PLC0415

    def search(subject: Subject) -> SearchResult | None:
        options = replace(
            settings.options,
            k=settings.longest,
            mode=mode,
            filter=SlideFilter(
                labels=admitted_labels,
                exclude_patient_ids=[subject.patient_id] if subject.patient_id else [],
            ),
            max_hits_per_patch=0,
            max_evidence_per_slide=1,
        )
        try:
            return client.search_stored_slide(subject.name, options=options)
        except NotFoundError:
            # The index is live: the slide, not the collection, is gone.
            client.get_collection(collection)
            return None

    answers: list[Answer | None] = []
    seconds: list[float] = []
    versions: list[int] = []
    random_weights = False
    progress(mode, 0, len(subjects))
    for subject, result in zip(
        subjects, ordered_map(search, subjects, workers=settings.jobs), strict=True
    ):
        if result is None:
            answers.append(None)
        else:
            answers.append(Answer(subject, tuple(_found(listed) for listed in result.slides)))
            seconds.append(result.timings.total_s)
            versions.append(result.index_version)
            random_weights |= result.random_weights
        progress(mode, len(answers), len(subjects))
    return Asked(
        tuple(answers),
        statistics.median(seconds) if seconds else None,
        (min(versions, default=0), max(versions, default=0)),
        random_weights,
    )


def _found(listed: RankedSlide) -> Found:
    pair = None
    if listed.evidence:
        best = listed.evidence[0]
        pair = Pair(
            best.query_patch_index,
            (best.query_x_px, best.query_y_px),
            best.hit.patch_index,
            (best.hit.x_px, best.hit.y_px),
        )
    return Found(listed.slide.name, listed.slide.label, float(listed.hamming_distance_bits), pair)
