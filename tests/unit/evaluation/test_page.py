from __future__ import annotations

import json
import re

import pytest
from tests.unit.evaluation.made import HOSTILE, evaluation
from tests.unit.report.results import jpeg
from tests.unit.report.test_html import Page

from slidekin.evaluation import ExamplePictures, render_html, to_json
from slidekin.evaluation._examples import choose_examples

PICTURES = ExamplePictures(
    slides={"collections/c/slides/s3": jpeg("red")},
    patches={("collections/c/slides/found-0-b", 0): jpeg("blue")},
)


@pytest.fixture(scope="module")
def text() -> str:
    return render_html(evaluation("one thing to know"), PICTURES)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    # Its parser wants every element closed.
    return Page(re.sub(r"<(br|line|circle)([^>]*?)/?>", "", text))


def test_the_page_loads_and_runs_nothing_and_names_no_patient(text: str, page: Page):
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not re.search(r"url\(|@import|https?://", text)
    assert all((image["src"] or "").startswith("data:image/jpeg") for image in page.all("img"))
    assert "default-src 'none'" in text
    assert "secret-" not in text


def test_what_others_wrote_cannot_become_part_of_the_page(text: str, page: Page):
    assert "<script>" not in text
    assert page.text.count(HOSTILE) >= 3


def test_methods_measures_notes_and_warnings_are_on_the_page(page: Page):
    wanted = (
        "GUIDED", "HYBRID", "RGB histogram", "mMV@1", "mMV@5", "mAP@3", "fewer than 5",
        "beyond", "one thing to know", "Random weights", "100 of 1280 bits", "no vote",
        "vqvae-x, texture-y", "2026-11-22", "ab" * 8,
    )  # fmt: skip
    assert [part for part in wanted if part not in page.text] == []
    assert "6 queries of 3 labels from 6 patients" in " ".join(page.text.split())


def test_examples_show_pictures_and_say_where_there_are_none(page: Page):
    assert len(page.all("img")) >= 2
    assert page.text.count("no picture") > 0
    assert "Nothing was found." in page.text
    assert "Good" in page.text
    assert "Bad" in page.text


def test_examples_are_of_different_labels_first():
    guided, hybrid, _ = evaluation().methods
    chosen = choose_examples(hybrid, 5, 2)
    assert [answer.subject.label for answer in chosen.good] == ["a", "b"]
    assert chosen.bad == ()
    bad = choose_examples(guided, 5, 3).bad
    assert {answer.subject.label for answer in bad} == {"a", "b", HOSTILE}
    # Least precise first: nothing at all was found for this one.
    assert bad[0].found == ()


def test_the_json_holds_every_figure_with_its_interval_and_names_no_patient():
    content = to_json(evaluation("n"))
    text = json.dumps(content, allow_nan=False)
    assert "secret-" not in text
    assert content["queries"] == 6
    assert [method["name"] for method in content["methods"]] == ["guided", "hybrid", "histogram"]
    guided = content["methods"][0]
    assert [scores["k"] for scores in guided["scores"]] == [1, 3, 5]
    assert set(guided["scores"][0]["mMV"]["macro"]) == {"value", "low", "high"}
    assert set(guided["scores"][0]["mMV"]["by_label"]) == {"a", "b", HOSTILE}
    assert guided["scores"][0]["mMV_against_histogram"] is not None
    assert content["methods"][2]["scores"][0]["mMV_against_histogram"] is None
    assert guided["confusion"]["columns"][-1] is None
    assert guided["answers"][0]["found"][0]["slide_id"] == "found-0-a"
    assert content["settings"]["profile"] == "default"


def test_a_report_without_examples_and_pictures_is_one_too():
    import dataclasses  # noqa: PLC0415

    bare = evaluation()
    none = dataclasses.replace(bare, settings=dataclasses.replace(bare.settings, examples=0))
    assert (
        "Examples" not in Page(re.sub(r"<(br|line|circle)([^>]*?)/?>", "", render_html(none))).text
    )
