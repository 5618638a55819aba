"""An evaluation as one self-contained page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from slidekin.evaluation._evaluate import BASELINE
from slidekin.evaluation._examples import ExamplePictures, choose_examples
from slidekin.evaluation._measures import average_precision, majority_label
from slidekin.evaluation._values import Answer, Confusion, Estimate, Evaluation, MethodResult
from slidekin.report._embedding import data_uri

if TYPE_CHECKING:
    from jinja2 import Template

_TITLES = {BASELINE: "RGB histogram"}
_ROW_PX = 22
_GROUP_GAP_PX = 12


@dataclass(frozen=True, slots=True)
class _Mark:
    """A point with its interval, drawn."""

    method: str
    y: float
    estimate: Estimate
    baseline: bool


@dataclass(frozen=True, slots=True)
class _Panel:
    """One measure of all methods at every k."""

    title: str
    groups: tuple[tuple[int, float], ...]
    """k, and the height at which its name stands."""
    marks: tuple[_Mark, ...]
    height: float


@dataclass(frozen=True, slots=True)
class _Cell:
    """A field of a confusion matrix."""

    count: int
    share: float
    right: bool


@dataclass(frozen=True, slots=True)
class _Shown:
    """A slide of an example's answer."""

    rank: int
    slide_id: str
    label: str
    right: bool
    distance: str
    query_picture: str | None
    picture: str | None


@dataclass(frozen=True, slots=True)
class _Example:
    """A query that is shown."""

    slide_id: str
    label: str
    vote: str | None
    precision: float
    picture: str | None
    found: tuple[_Shown, ...]


def render_html(evaluation: Evaluation, pictures: ExamplePictures | None = None) -> str:
    """The page: scores of all methods, by label, confusion matrices, examples.

    It loads nothing and runs nothing; patients are not named.

    Args:
        evaluation: What was measured.
        pictures: Of the examples. None: they are listed without.
    """
    pictures = pictures or ExamplePictures()
    settings = evaluation.settings
    return _template().render(
        evaluation=evaluation,
        settings=settings,
        queries=sum(evaluation.labels.values()),
        collection=evaluation.collection.rpartition("/")[2],
        methods=[(_title(result), result) for result in evaluation.methods],
        has_baseline=any(result.name == BASELINE for result in evaluation.methods),
        panels=[
            _panel(
                "mMV",
                evaluation,
                [[s.majority_vote.macro for s in m.scores] for m in evaluation.methods],
            ),
            _panel(
                "mAP",
                evaluation,
                [[s.average_precision.macro for s in m.scores] for m in evaluation.methods],
            ),
        ],
        confusions=[
            (_title(result), result.confusion, _cells(result.confusion))
            for result in evaluation.methods
        ],
        examples=[
            (_title(result), *_examples(result, evaluation, pictures))
            for result in evaluation.methods
        ]
        if settings.examples
        else [],
    )


def _title(result: MethodResult) -> str:
    return _TITLES.get(result.name, result.name.upper())


def _panel(title: str, evaluation: Evaluation, estimates: Sequence[Sequence[Estimate]]) -> _Panel:
    groups: list[tuple[int, float]] = []
    marks: list[_Mark] = []
    y = 0.0
    for place, k in enumerate(evaluation.settings.ks):
        groups.append((k, y + 14))
        y += _ROW_PX
        for result, by_k in zip(evaluation.methods, estimates, strict=True):
            marks.append(
                _Mark(_title(result), y + _ROW_PX / 2, by_k[place], result.name == BASELINE)
            )
            y += _ROW_PX
        y += _GROUP_GAP_PX
    return _Panel(title, tuple(groups), tuple(marks), y)


def _cells(confusion: Confusion) -> list[tuple[str, list[_Cell]]]:
    rows = []
    for place, (label, counts) in enumerate(zip(confusion.labels, confusion.counts, strict=True)):
        total = sum(counts)
        rows.append(
            (
                label,
                [
                    _Cell(count, count / total if total else 0.0, column == place)
                    for column, count in enumerate(counts)
                ],
            )
        )
    return rows


def _examples(
    result: MethodResult, evaluation: Evaluation, pictures: ExamplePictures
) -> tuple[list[_Example], list[_Example]]:
    settings = evaluation.settings
    chosen = choose_examples(result, settings.longest, settings.examples)
    unit = "" if result.name == BASELINE else " bits"

    def shown(answer: Answer) -> _Example:
        own = answer.subject
        queried = {found.pair.query_index for found in answer.found if found.pair is not None}
        found_slides = []
        for rank, found in enumerate(answer.found, start=1):
            query_picture = picture = None
            if found.pair is not None:
                picture = data_uri(pictures.patches.get((found.name, found.pair.found_index)))
                # One patch alone need not be shown beside each of its answers.
                if len(queried) > 1:
                    key = (own.name, found.pair.query_index)
                    query_picture = data_uri(pictures.patches.get(key))
            distance = f"{found.distance:.0f}" if unit else f"{found.distance:.3f}"
            found_slides.append(
                _Shown(
                    rank=rank,
                    slide_id=found.slide_id,
                    label=found.label,
                    right=found.label == own.label,
                    distance=distance + unit,
                    query_picture=query_picture,
                    picture=picture,
                )
            )
        return _Example(
            slide_id=own.slide_id,
            label=own.label,
            vote=majority_label(answer.labels, settings.longest),
            precision=average_precision(answer.labels, own.label, settings.longest),
            picture=data_uri(pictures.slides.get(own.name)),
            found=tuple(found_slides),
        )

    return [shown(answer) for answer in chosen.good], [shown(answer) for answer in chosen.bad]


def _figure(estimate: Estimate) -> str:
    return f"{estimate.value:.3f}"


def _interval(estimate: Estimate) -> str:
    if math.isnan(estimate.low):
        return "not known"
    return f"{estimate.low:.2f} to {estimate.high:.2f}"


def _signed_interval(estimate: Estimate) -> str:
    return f"{estimate.low:+.2f} to {estimate.high:+.2f}"


@cache
def _template() -> Template:
    # The extra slidekin[cli] brings it; who writes no report needs none.
    import jinja2  # noqa: PLC0415

    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.PackageLoader("slidekin.evaluation", "."),
                # The pages share one look.
                jinja2.PrefixLoader({"report": jinja2.PackageLoader("slidekin.report", ".")}),
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": _figure,
        "interval": _interval,
        "signed_interval": _signed_interval,
    }
    return environment.get_template("page.html")
