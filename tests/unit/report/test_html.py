from __future__ import annotations

import base64
import dataclasses
import html.parser
import re

import pytest
from tests.unit.report.results import HOSTILE, PICTURES, RESULT, jpeg, with_random_weights

from slidekin import Query
from slidekin.report import Pictures, render_html

_VOID = {"meta", "img", "link", "br", "image", "rect"}


class Page(html.parser.HTMLParser):
    """What is on a page; fails where elements are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_html(RESULT, PICTURES))


def _uri(picture: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode()


def test_the_page_loads_and_runs_nothing(page: Page):
    text = render_html(RESULT, PICTURES)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    sources = [
        a.get("src") or a.get("href") or "" for tag, a in page.tags if tag in {"img", "image"}
    ]
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"url\(|@import|https?://", text)
    assert "default-src 'none'" in text


def test_the_query_is_shown_with_its_numbered_mosaic(page: Page):
    query = page.all("svg")[0]
    assert query["viewbox"] == "0 0 8000 6000"
    assert "3 mosaic patches" in (query["aria-label"] or "")
    assert page.all("image")[0]["href"] == _uri(RESULT.query.thumbnail or b"")
    drawn = [box for box in page.all("rect") if (box["class"] or "").startswith("box")][:3]
    assert [(box["x"], box["y"], box["width"]) for box in drawn] == [
        ("0", "2048", "1024"), ("1024", "2048", "1024"), ("4096", "0", "1024"),
    ]  # fmt: skip
    assert [(box["class"] or "").endswith("plain") for box in drawn] == [False, False, True]


def test_matched_patches_stand_side_by_side_with_their_distance(page: Page):
    assert "query 1 ↔ patch 4 · 41 bits" in page.text
    assert "query 2 ↔ patch 6 · 42 bits" in page.text
    shown = [(image["class"], image["src"]) for image in page.all("img")]
    assert shown == [
        ("query", _uri(jpeg("red"))),
        ("match", _uri(jpeg("black"))),
        ("query", _uri(jpeg("blue"))),
    ]


def test_missing_pictures_are_said_to_be_missing(page: Page):
    assert page.text.count("no picture kept") == 1
    assert "No picture of this slide is kept." in page.text
    bare = Page(render_html(RESULT, Pictures()))
    assert bare.text.count("no picture kept") == 2


def test_every_picture_has_a_text_in_its_place(page: Page):
    assert all(image["alt"] for image in page.all("img"))
    assert all(svg["aria-label"] and svg["role"] == "img" for svg in page.all("svg"))


def test_what_others_wrote_cannot_become_part_of_the_page(page: Page):
    assert "<script>" not in render_html(RESULT, PICTURES)
    assert page.text.count(HOSTILE) >= 2


def test_something_that_is_no_picture_is_not_put_on_the_page():
    query = dataclasses.replace(RESULT.query, thumbnail=b"<svg onload=alert(1)>")
    text = render_html(dataclasses.replace(RESULT, query=query), Pictures())
    assert base64.b64encode(b"<svg onload=alert(1)>").decode() not in text


def test_facts_and_warnings_are_on_the_page(page: Page):
    facts = ("c", "auto", "2 guided, 1 exact", "1.50 s", "1 patient", "ab" * 8, "only two")
    assert all(fact in page.text for fact in facts)
    assert "Not for diagnosis" in page.text
    assert "Random weights" not in page.text
    assert "Random weights" in Page(render_html(with_random_weights(), PICTURES)).text


def test_patients_are_not_named(page: Page):
    assert "patient-" not in render_html(RESULT, PICTURES)


def test_a_query_of_bare_codes_and_an_empty_answer_make_a_page_too():
    empty = dataclasses.replace(RESULT, query=Query(positions=((5, 5),)), slides=())
    page = Page(render_html(empty, Pictures()))
    assert "No slide was found" in page.text
    assert "Slides like the query" in page.text
