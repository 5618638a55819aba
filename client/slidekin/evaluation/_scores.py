"""From answers to scores with intervals: means by label, and a bootstrap over patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slidekin.evaluation._measures import average_precision, majority_label
from slidekin.evaluation._values import (
    Answer,
    Confusion,
    Estimate,
    EvaluationSettings,
    Measured,
    MethodResult,
    Scores,
    Subject,
)

_INTERVAL = (2.5, 97.5)
"""Percentiles of the resamples between which an interval of 95 % lies."""
_CHUNK = 200
"""Resamples at a time: bounds the memory for archives of many patients."""
_MEASURES = 3
"""Vote, average precision, short answer."""


@dataclass(frozen=True, slots=True, eq=False)
class _Cohort:
    """Who asked, as numbers."""

    labels: tuple[str, ...]
    label_ids: NDArray[np.int64]
    """By query."""
    unit_ids: NDArray[np.int64]
    """By query: its patient."""

    @classmethod
    def of(cls, subjects: Sequence[Subject]) -> _Cohort:
        labels = tuple(sorted({subject.label for subject in subjects}))
        places = {label: place for place, label in enumerate(labels)}
        units: dict[tuple[str, str], int] = {}
        return cls(
            labels,
            np.array([places[subject.label] for subject in subjects], dtype=np.int64),
            np.array([units.setdefault(s.unit, len(units)) for s in subjects], dtype=np.int64),
        )


def judge(
    answers_by_method: Sequence[tuple[str, Sequence[Answer]]],
    settings: EvaluationSettings,
    *,
    baseline: str | None = None,
    median_query_s: dict[str, float] | None = None,
) -> tuple[MethodResult, ...]:
    """Score methods that were asked the same queries.

    The bootstrap draws patients with replacement, the same ones for every method: the
    differences from the baseline are paired. A label that a resample does not hold is left out
    of that resample's macro-average.

    Args:
        answers_by_method: Name and answers, the queries in the same order for all.
        settings: Ks, resamples, seed.
        baseline: Name of the method the others are compared with.
        median_query_s: Time of a query by method.

    Raises:
        ValueError: The methods were not asked the same queries.
    """
    asked = [[answer.subject for answer in answers] for _, answers in answers_by_method]
    if any(subjects != asked[0] for subjects in asked):
        raise ValueError("methods can be compared only where they were asked the same queries")
    cohort = _Cohort.of(asked[0])
    values = {name: _values(answers, settings.ks) for name, answers in answers_by_method}
    names = [name for name, _ in answers_by_method]
    compared = [name for name in names if baseline is not None and name != baseline]
    columns = [values[name] for name in names]
    if baseline is not None:
        columns += [values[name] - values[baseline] for name in compared]
    measured = _bootstrap(np.concatenate(columns, axis=1), cohort, settings)
    per_method = _MEASURES * len(settings.ks)
    results = []
    for place, (name, answers) in enumerate(answers_by_method):
        own = measured[place * per_method : (place + 1) * per_method]
        against: Sequence[Measured] = ()
        if name in compared:
            start = (len(names) + compared.index(name)) * per_method
            against = measured[start : start + per_method]
        results.append(
            MethodResult(
                name=name,
                scores=tuple(
                    _scores(k, number, own, against) for number, k in enumerate(settings.ks)
                ),
                confusion=confusion(answers, cohort.labels, settings.longest),
                answers=tuple(answers),
                median_query_s=(median_query_s or {}).get(name),
            )
        )
    return tuple(results)


def confusion(answers: Sequence[Answer], labels: tuple[str, ...], k: int) -> Confusion:
    """Count what the votes of the first k said; the last column counts answers without a vote."""
    rows = {label: [0] * (len(labels) + 1) for label in labels}
    columns = {label: place for place, label in enumerate(labels)}
    for answer in answers:
        vote = majority_label(answer.labels, k)
        # A slide that was given a label of its own after the queries began counts as no vote.
        place = columns.get(vote, len(labels)) if vote is not None else len(labels)
        rows[answer.subject.label][place] += 1
    return Confusion(k, labels, tuple(tuple(rows[label]) for label in labels))


def _scores(k: int, number: int, own: Sequence[Measured], against: Sequence[Measured]) -> Scores:
    vote, precision, short = own[number * _MEASURES : (number + 1) * _MEASURES]
    differences = against[number * _MEASURES : (number + 1) * _MEASURES]
    return Scores(
        k=k,
        majority_vote=vote,
        average_precision=precision,
        short_answers=short,
        vote_against_baseline=differences[0].macro if differences else None,
        precision_against_baseline=differences[1].macro if differences else None,
    )


def _values(answers: Sequence[Answer], ks: Sequence[int]) -> NDArray[np.float64]:
    """Shape (queries, measures of every k)."""
    rows = []
    for answer in answers:
        labels, own = answer.labels, answer.subject.label
        row: list[float] = []
        for k in ks:
            row += [
                float(majority_label(labels, k) == own),
                average_precision(labels, own, k),
                float(len(labels) < k),
            ]
        rows.append(row)
    return np.array(rows, dtype=np.float64)


def _bootstrap(
    values: NDArray[np.float64], cohort: _Cohort, settings: EvaluationSettings
) -> list[Measured]:
    """Estimates of every column of ``values`` (queries, columns)."""
    units, labels = int(cohort.unit_ids.max()) + 1, len(cohort.labels)
    columns = values.shape[1]
    # By patient and label: sums of every column, and in the last place the number of queries.
    sums = np.zeros((units, labels, columns + 1))
    with_count = np.concatenate([values, np.ones((len(values), 1))], axis=1)
    np.add.at(sums, (cohort.unit_ids, cohort.label_ids), with_count)
    flat = sums.reshape(units, -1)

    def means(
        totals: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Of (samples, labels, columns + 1): by label, macro, overall."""
        counts = totals[..., -1:]
        # 0 / 0 where a resample lacks a label; nanmean leaves it out.
        with np.errstate(invalid="ignore"):
            by_label = totals[..., :-1] / counts
        macro = np.nanmean(by_label, axis=1)
        overall = totals[..., :-1].sum(axis=1) / counts.sum(axis=1)
        return by_label, macro, overall

    rng = np.random.default_rng(settings.seed)
    drawn: list[tuple[NDArray[np.float64], ...]] = []
    for start in range(0, settings.resamples, _CHUNK):
        size = min(_CHUNK, settings.resamples - start)
        weights = rng.multinomial(units, np.full(units, 1 / units), size=size).astype(np.float64)
        drawn.append(means((weights @ flat).reshape(size, labels, columns + 1)))
    by_label, macro, overall = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    point = means(sums.sum(axis=0)[None])

    def estimate(value: np.float64, samples: NDArray[np.float64]) -> Estimate:
        known = samples[~np.isnan(samples)]
        # Few resamples may all lack a rare label: then there is no telling how far it spreads.
        low, high = np.percentile(known, _INTERVAL) if len(known) else (np.nan, np.nan)
        return Estimate(float(value), float(low), float(high))

    return [
        Measured(
            macro=estimate(point[1][0, column], macro[:, column]),
            overall=estimate(point[2][0, column], overall[:, column]),
            by_label={
                label: estimate(point[0][0, place, column], by_label[:, place, column])
                for place, label in enumerate(cohort.labels)
            },
        )
        for column in range(columns)
    ]
