from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.unit.evaluation.made import subject

from slidekin.evaluation import PatchHistograms, histogram, histogram_answers


def flat(*colours: tuple[int, int, int]) -> PatchHistograms:
    """A slide of one-coloured patches."""
    images = [Image.new("RGB", (16, 16), colour) for colour in colours]
    return PatchHistograms.of([(n, 0) for n in range(len(images))], images)


RED, REDDISH, BLUE = (200, 10, 10), (200, 10, 90), (10, 10, 200)


def test_a_histogram_has_length_one_and_96_bins():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    vector = histogram(image)
    assert vector.shape == (96,)
    assert float(vector @ vector) == pytest.approx(1)
    shares = vector.astype(np.float64) ** 2 * 3
    red = np.histogram(np.asarray(image)[..., 0], bins=32, range=(0, 256))[0] / 1024
    assert shares[:32] == pytest.approx(red, abs=1e-6)


def test_like_colours_come_first_and_the_own_patient_is_left_out():
    asks = [
        subject("red", "r", "p1"),
        subject("twin", "r", "p1"),
        subject("reddish", "r", "p2"),
        subject("blue", "b", "p3"),
    ]
    answers = histogram_answers(asks, [flat(RED), flat(RED), flat(REDDISH), flat(BLUE)], 5)
    assert [found.slide_id for found in answers[0].found] == ["reddish", "blue"]
    assert [found.slide_id for found in answers[2].found] == ["red", "twin", "blue"]
    assert answers[0].found[0].distance < answers[0].found[1].distance <= 1
    assert len(histogram_answers(asks, [flat(RED)] * 4, 1)[3].found) == 1


def test_slides_are_compared_by_the_median_of_their_nearest_patches():
    asks = [subject("query", "x"), subject("most", "x"), subject("one", "x")]
    query = flat(RED, RED, BLUE)
    answers = histogram_answers(asks, [query, flat(RED), flat(BLUE)], 2)
    assert [found.slide_id for found in answers[0].found] == ["most", "one"]
    assert answers[0].found[0].distance == pytest.approx(0, abs=1e-3)
    pair = answers[0].found[1].pair
    assert pair is not None
    assert (pair.query_index, pair.found_index) == (2, 0)


def test_slides_of_unequal_numbers_of_patches_are_told_apart():
    asks = [subject(name, "x") for name in ("a", "b", "c")]
    answers = histogram_answers(asks, [flat(RED), flat(BLUE, RED, REDDISH), flat(BLUE)], 2)
    assert [found.slide_id for found in answers[0].found] == ["b", "c"]
    pair = answers[0].found[0].pair
    assert pair is not None
    assert (pair.query_index, pair.found_index, pair.found_xy) == (0, 1, (1, 0))
