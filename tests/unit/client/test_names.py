from __future__ import annotations

import pytest

from slidekin._names import collection_name, slide_name


def test_ids_and_full_names_mean_the_same():
    assert (
        collection_name("breast") == collection_name("collections/breast") == "collections/breast"
    )
    full = "collections/breast/slides/S 1"
    assert slide_name("S 1", "breast") == slide_name(full, None) == full


@pytest.mark.parametrize("collection", ["", "a/b", "collections/", "collections/a/b"])
def test_a_collection_that_cannot_be_meant_is_refused(collection: str):
    with pytest.raises(ValueError, match="names no collection"):
        collection_name(collection)


@pytest.mark.parametrize(
    ("slide", "collection"),
    [
        ("s", None),
        ("", "a"),
        ("x/y", "a"),
        ("collections/a", None),
        ("collections/a/slides/", None),
    ],
)
def test_a_slide_that_cannot_be_meant_is_refused(slide: str, collection: str | None):
    with pytest.raises(ValueError, match="slide"):
        slide_name(slide, collection)
