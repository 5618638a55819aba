"""Answers made by hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from slidekin.evaluation import (
    Answer,
    Evaluation,
    EvaluationSettings,
    Found,
    Pair,
    Subject,
    judge,
)

HOSTILE = "<script>alert('x')</script>"


def subject(slide_id: str, label: str, patient: str = "") -> Subject:
    return Subject(f"collections/c/slides/{slide_id}", label, patient)


def answer(asks: Subject, labels: Sequence[str]) -> Answer:
    """An answer of slides with these labels."""
    return Answer(
        asks,
        tuple(
            Found(
                f"collections/c/slides/found-{rank}-{label}",
                label,
                10.0 + rank,
                Pair(rank % 2, (0, 0), rank, (rank, rank)),
            )
            for rank, label in enumerate(labels)
        ),
    )


def evaluation(*notes: str) -> Evaluation:
    """Three labels, two methods and the baseline; patients are called secret-N."""
    settings = EvaluationSettings(resamples=200, examples=2)
    asks = [
        subject(f"s{number}", label, f"secret-{number}")
        for number, label in enumerate(["a", "a", "a", "b", "b", HOSTILE])
    ]
    guided = [answer(one, [one.label, "b", "a"]) for one in asks[:-1]] + [answer(asks[-1], [])]
    hybrid = [answer(one, [one.label] * 5) for one in asks]
    colours = [answer(one, ["a", "a", "a", "b", "b"]) for one in asks]
    return Evaluation(
        title=f"Collection {HOSTILE}",
        collection="collections/c",
        made_at=dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC),
        settings=settings,
        methods=judge(
            [("guided", guided), ("hybrid", hybrid), ("histogram", colours)],
            settings,
            baseline="histogram",
            median_query_s={"guided": 0.004, "hybrid": 0.005},
        ),
        labels={"a": 3, "b": 2, HOSTILE: 1},
        patients=6,
        networks=("vqvae-x", "texture-y"),
        model_fingerprint="ab" * 32,
        random_weights=True,
        hamming_threshold_bits=100,
        texture_bits=1280,
        index_versions=(1, 1),
        notes=notes,
    )
