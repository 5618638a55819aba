from __future__ import annotations

import math
from statistics import fmean

import pytest
from tests.unit.evaluation.made import HOSTILE, answer, evaluation, subject

from slidekin.evaluation import EvaluationSettings, judge

SETTINGS = EvaluationSettings(ks=(1, 3), resamples=400)


def test_a_rare_label_counts_as_much_as_a_common_one_in_the_macro_average():
    asks = [subject(f"a{n}", "a") for n in range(9)] + [subject("b", "b")]
    answers = [answer(one, "aaa") for one in asks]
    (result,) = judge([("m", answers)], SETTINGS)
    scores = result.at(3)
    assert scores.majority_vote.macro.value == pytest.approx(0.5)
    assert scores.majority_vote.overall.value == pytest.approx(0.9)
    assert scores.majority_vote.by_label["a"].value == 1
    assert scores.majority_vote.by_label["b"].value == 0


def test_short_answers_are_counted_at_every_k():
    asks = [subject(str(n), "ab"[n % 2]) for n in range(4)]
    lengths = (0, 1, 2, 3)
    answers = [answer(one, "a" * length) for one, length in zip(asks, lengths, strict=True)]
    (result,) = judge([("m", answers)], SETTINGS)
    assert result.at(1).short_answers.overall.value == pytest.approx(1 / 4)
    assert result.at(3).short_answers.overall.value == pytest.approx(3 / 4)


def test_intervals_hold_the_value_and_are_the_same_for_the_same_seed():
    one, other = evaluation(), evaluation()
    assert one.methods == other.methods
    for method in one.methods:
        for scores in method.scores:
            for measured in (scores.majority_vote, scores.average_precision):
                assert measured.macro.low <= measured.macro.value <= measured.macro.high


def test_patients_are_drawn_and_not_slides():
    """Ten slides of one patient say no more of the next patient than one of them."""
    right = [True, True, False, True, False, True]
    one_each = [subject(str(n), "ab"[n % 2], f"p{n}") for n in range(6)]
    many = [subject(f"{n}-{copy}", "ab"[n % 2], f"p{n}") for n in range(6) for copy in range(10)]
    alone = [subject(s.slide_id, s.label) for s in many]

    def width(asks, copies):
        answers = [
            answer(one, one.label * 3 if right[place // copies] else "xxx")
            for place, one in enumerate(asks)
        ]
        (result,) = judge([("m", answers)], SETTINGS)
        interval = result.at(3).majority_vote.macro
        return interval.high - interval.low

    assert width(many, 10) == pytest.approx(width(one_each, 1))
    assert width(alone, 10) < 0.6 * width(many, 10)


def test_differences_from_the_baseline_are_paired():
    asks = [subject(str(n), "ab"[n % 2]) for n in range(40)]
    mixed = [answer(one, one.label * 3 if n % 3 else "xxx") for n, one in enumerate(asks)]
    results = judge([("m", mixed), ("same", mixed)], SETTINGS, baseline="same")
    difference = results[0].at(3).vote_against_baseline
    assert difference is not None
    assert (difference.low, difference.value, difference.high) == (0, 0, 0)
    assert results[1].at(3).vote_against_baseline is None


def test_methods_that_were_asked_other_queries_cannot_be_compared():
    first = [answer(subject("1", "a"), "a"), answer(subject("2", "b"), "a")]
    with pytest.raises(ValueError, match="same queries"):
        judge([("m", first), ("n", first[:1])], SETTINGS)


def test_the_confusion_matrix_counts_votes_and_what_has_none():
    result = evaluation().methods[0]
    confusion = result.confusion
    labels = confusion.labels
    assert labels == tuple(sorted({"a", "b", HOSTILE}))
    rows = dict(zip(labels, confusion.counts, strict=True))
    # Three results of five asked for: "a" has two votes and needs three.
    assert rows["a"] == (0, 0, 0, 3)
    assert rows[HOSTILE] == (0, 0, 0, 1)
    hybrid = dict(zip(labels, evaluation().methods[1].confusion.counts, strict=True))
    assert hybrid["b"][labels.index("b")] == 2
    assert sum(map(sum, confusion.counts)) == 6


def test_a_label_that_no_resample_holds_has_no_interval():
    asks = [subject(str(n), "a") for n in range(30)] + [subject("b", "b")]
    settings = EvaluationSettings(ks=(1,), resamples=1, seed=1)
    (result,) = judge([("m", [answer(one, "a") for one in asks])], settings)
    estimate = result.at(1).majority_vote.by_label["b"]
    assert estimate.value == 0
    assert math.isnan(estimate.low) or estimate.low == 0


def test_the_bootstrap_agrees_with_the_plain_one():
    asks = [subject(str(n), "aab"[n % 3], f"p{n // 2}") for n in range(30)]
    answers = [answer(one, one.label if (n * 7) % 5 else "x") for n, one in enumerate(asks)]
    (result,) = judge([("m", answers)], EvaluationSettings(ks=(1,), resamples=4000))
    interval = result.at(1).majority_vote.macro
    plain = _plain_bootstrap(answers, 4000)
    assert interval.low == pytest.approx(plain[0], abs=0.03)
    assert interval.high == pytest.approx(plain[1], abs=0.03)


def _plain_bootstrap(answers, resamples):
    import random  # noqa: PLC0415

    rng = random.Random(3)
    patients = sorted({a.subject.patient_id for a in answers})
    macros = []
    for _ in range(resamples):
        drawn = rng.choices(patients, k=len(patients))
        by_label: dict[str, list[float]] = {}
        for patient in drawn:
            for one in answers:
                if one.subject.patient_id == patient:
                    right = float(one.labels[0] == one.subject.label)
                    by_label.setdefault(one.subject.label, []).append(right)
        macros.append(fmean(fmean(values) for values in by_label.values()))
    macros.sort()
    return macros[int(0.025 * resamples)], macros[int(0.975 * resamples)]


def test_settings_refuse_what_cannot_be_meant():
    for wrong in ({"ks": ()}, {"ks": (0,)}, {"modes": ()}, {"jobs": 0}, {"resamples": 0}):
        with pytest.raises(ValueError, match="at least"):
            EvaluationSettings(**wrong)
    assert EvaluationSettings(ks=(5, 1, 5)).ks == (1, 5)
