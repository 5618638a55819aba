"""Keys and textures from what the networks say."""

from __future__ import annotations

import numpy as np
import pytest

from slidekin_server.codes import MAX_KEY, keys_from_codes, textures_from_features

IDENTITY = np.arange(128, dtype=np.uint8)


def _key_in_plain_python(codes: list[list[int]], order: list[int]) -> int:
    level = [[order[code] for code in row] for row in codes]
    key = 0
    for weight in (1, 10**6, 10**11):
        half = range(len(level) // 2)
        level = [
            [
                sum(level[2 * y + dy][2 * x + dx] for dy in (0, 1) for dx in (0, 1)) // 4
                for x in half
            ]
            for y in half
        ]
        key += weight * sum(map(sum, level))
    return key


def test_keys_equal_the_definition_in_plain_python() -> None:
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 128, (5, 64, 64), dtype=np.uint8)
    order = rng.permutation(128).astype(np.uint8)
    expected = [_key_in_plain_python(patch.tolist(), order.tolist()) for patch in codes]
    assert keys_from_codes(codes, order).tolist() == expected


def test_the_largest_codes_give_the_largest_key() -> None:
    codes = np.full((1, 64, 64), 127, dtype=np.int64)
    assert keys_from_codes(codes, IDENTITY).tolist() == [MAX_KEY]
    assert MAX_KEY < 2**50


def test_no_patches_give_no_keys() -> None:
    assert keys_from_codes(np.empty((0, 64, 64), dtype=np.uint8), IDENTITY).tolist() == []


@pytest.mark.parametrize(
    ("codes", "order", "complaint"),
    [
        (np.zeros((64, 64), np.uint8), IDENTITY, "codes must have shape"),
        (np.zeros((1, 32, 64), np.uint8), IDENTITY, "codes must have shape"),
        (np.full((1, 64, 64), 128, np.uint8), IDENTITY, "codes must lie in 0..127"),
        (np.full((1, 64, 64), -1, np.int8), IDENTITY, "codes must lie in 0..127"),
        (np.zeros((1, 64, 64), np.uint8), np.zeros(128, np.uint8), "must be a permutation"),
        (np.zeros((1, 64, 64), np.uint8), IDENTITY[:64], "must be a permutation"),
    ],
)
def test_codes_that_do_not_fit_are_refused(
    codes: np.ndarray, order: np.ndarray, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        keys_from_codes(codes, order)


@pytest.mark.parametrize("width", [64, 1024, 1280])
def test_a_bit_is_set_where_a_feature_does_not_fall(width: int) -> None:
    rng = np.random.default_rng(width)
    features = rng.integers(0, 5, (3, width)).astype(np.float32)
    textures = textures_from_features(features)
    assert textures.shape == (3, width // 8)
    assert textures.dtype == np.uint8
    for row, texture in zip(features.tolist(), np.unpackbits(textures, axis=1), strict=True):
        expected = [0] + [int(row[i] >= row[i - 1]) for i in range(1, width)]
        assert texture.tolist() == expected


@pytest.mark.parametrize(
    ("features", "complaint"),
    [
        (np.zeros((2, 1000), np.float32), "multiple of 64"),
        (np.zeros((2, 0), np.float32), "multiple of 64"),
        (np.zeros(64, np.float32), "multiple of 64"),
        (np.full((1, 64), np.nan, np.float32), "finite"),
    ],
)
def test_features_that_do_not_fit_are_refused(features: np.ndarray, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        textures_from_features(features)
