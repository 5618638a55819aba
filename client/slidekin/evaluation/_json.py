"""An evaluation as plain JSON values."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from slidekin.evaluation._measures import average_precision, majority_label
from slidekin.evaluation._values import (
    Answer,
    Estimate,
    Evaluation,
    Measured,
    MethodResult,
    Scores,
)

SCHEMA = 1
"""Grows where a field changes its meaning or goes away."""


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything an evaluation found, patients' ids and pictures excepted.

    Keys are stable within one ``schema``; every figure comes with its 95 % interval.
    """
    settings = evaluation.settings
    return {
        "schema": SCHEMA,
        "title": evaluation.title,
        "collection": evaluation.collection,
        "made_at": evaluation.made_at.isoformat(),
        "settings": {
            "ks": list(settings.ks),
            "modes": list(settings.modes),
            "profile": settings.options.profile,
            "ranking": settings.options.ranking,
            "fallback": settings.options.fallback,
            "guided": dataclasses.asdict(settings.options.guided),
            "hamming_threshold_bits": evaluation.hamming_threshold_bits,
            "resamples": settings.resamples,
            "seed": settings.seed,
            "jobs": settings.jobs,
        },
        "model_fingerprint": evaluation.model_fingerprint,
        "networks": list(evaluation.networks),
        "random_weights": evaluation.random_weights,
        "texture_bits": evaluation.texture_bits,
        "index_versions": list(evaluation.index_versions),
        "queries": sum(evaluation.labels.values()),
        "patients": evaluation.patients,
        "labels": dict(evaluation.labels),
        "notes": list(evaluation.notes),
        "methods": [_method(result, settings.longest) for result in evaluation.methods],
    }


def _method(result: MethodResult, k: int) -> dict[str, Any]:
    return {
        "name": result.name,
        "median_query_s": result.median_query_s,
        "scores": [_scores(scores) for scores in result.scores],
        "confusion": {
            "k": result.confusion.k,
            "rows": list(result.confusion.labels),
            "columns": [*result.confusion.labels, None],
            "counts": [list(row) for row in result.confusion.counts],
        },
        "answers": [_answer(answer, k) for answer in result.answers],
    }


def _scores(scores: Scores) -> dict[str, Any]:
    return {
        "k": scores.k,
        "mMV": _measured(scores.majority_vote),
        "mAP": _measured(scores.average_precision),
        "short_answers": _measured(scores.short_answers),
        "mMV_against_histogram": _estimate(scores.vote_against_baseline),
        "mAP_against_histogram": _estimate(scores.precision_against_baseline),
    }


def _measured(measured: Measured) -> dict[str, Any]:
    return {
        "macro": _estimate(measured.macro),
        "overall": _estimate(measured.overall),
        "by_label": {label: _estimate(value) for label, value in measured.by_label.items()},
    }


def _estimate(estimate: Estimate | None) -> dict[str, float | None] | None:
    if estimate is None:
        return None
    # JSON knows no NaN: a label that no resample held has no interval.
    return {
        name: None if math.isnan(value) else value
        for name, value in dataclasses.asdict(estimate).items()
    }


def _answer(answer: Answer, k: int) -> dict[str, Any]:
    own = answer.subject.label
    return {
        "slide_id": answer.subject.slide_id,
        "label": own,
        "vote": majority_label(answer.labels, k),
        "average_precision": average_precision(answer.labels, own, k),
        "found": [
            {"slide_id": found.slide_id, "label": found.label, "distance": found.distance}
            for found in answer.found
        ],
    }
