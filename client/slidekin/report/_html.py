"""A search result as one self-contained page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from slidekin._types import RankedSlide, SearchResult
from slidekin.report._embedding import data_uri
from slidekin.report._pictures import Pictures

if TYPE_CHECKING:
    from jinja2 import Template

_LEAST_NUMBER_SHARE_QUERY = 0.014
_LEAST_NUMBER_SHARE_FOUND = 0.04
_GREATEST_NUMBER_SHARE = 0.045
"""Numbers on a mosaic stay readable and hide no tissue: shares of the picture's longer side;
the pictures of slides that were found are a third as wide as the query's."""


@dataclass(frozen=True, slots=True)
class _Box:
    """A patch drawn on a slide's picture."""

    x: int
    y: int
    number: int
    matched: bool
    number_x: float = 0.0
    number_y: float = 0.0


@dataclass(frozen=True, slots=True)
class _Overview:
    """A slide's picture with patches drawn on it."""

    width: int
    height: int
    edge: int
    number_size: float
    picture: str | None
    boxes: tuple[_Box, ...]
    region: tuple[int, int, int, int] | None
    title: str


@dataclass(frozen=True, slots=True)
class _Pair:
    """A query patch beside the patch it matched."""

    query_number: int
    query_picture: str | None
    match_number: int
    match_picture: str | None
    distance_bits: int


@dataclass(frozen=True, slots=True)
class _Found:
    """A ranked slide."""

    ranked: RankedSlide
    overview: _Overview
    pairs: tuple[_Pair, ...]


def render_html(
    result: SearchResult, pictures: Pictures, *, made_at: dt.datetime | None = None
) -> str:
    """The page: the query with its mosaic, the ranked slides, the matched patches side by side.

    Pictures are part of the page; it loads nothing and runs nothing. Pictures that are missing
    are said to be. Patient ids are left out: reports get passed on.

    Args:
        result: What was found.
        pictures: What it looks like.
        made_at: Date on the page. None: now.
    """
    query = result.query
    matched = {pair.query_patch_index for found in result.slides for pair in found.evidence}
    overview = _overview(
        query.thumbnail,
        (query.width_px, query.height_px),
        query.patch_size_px,
        [
            _Box(x, y, index + 1, matched=index in matched)
            for index, (x, y) in enumerate(query.positions)
        ],
        title=f"{query.slide_id or 'Query'} with its {len(query.positions)} mosaic patches",
        region=query.region,
    )
    return _template().render(
        result=result,
        query=query,
        overview=overview,
        found=[_found(result, ranked, pictures) for ranked in result.slides],
        made_at=made_at or dt.datetime.now(tz=dt.UTC),
        collection=result.collection.rpartition("/")[2],
    )


def _found(result: SearchResult, ranked: RankedSlide, pictures: Pictures) -> _Found:
    slide = ranked.slide
    distinct = {pair.hit.patch_index: pair.hit for pair in ranked.evidence}
    overview = _overview(
        pictures.slide(slide.name),
        (slide.width_px, slide.height_px),
        slide.patch_size_px,
        [_Box(hit.x_px, hit.y_px, index + 1, matched=True) for index, hit in distinct.items()],
        title=f"{slide.slide_id} with its matched patches",
        least_number_share=_LEAST_NUMBER_SHARE_FOUND,
    )
    pairs = tuple(
        _Pair(
            query_number=pair.query_patch_index + 1,
            query_picture=data_uri(result.query.patch_thumbnails.get(pair.query_patch_index)),
            match_number=pair.hit.patch_index + 1,
            match_picture=data_uri(pictures.patch(slide.name, pair.hit.patch_index)),
            distance_bits=pair.hit.hamming_distance_bits,
        )
        for pair in ranked.evidence
    )
    return _Found(ranked, overview, pairs)


def _overview(
    picture: bytes | None,
    size_px: tuple[int, int],
    edge_px: int,
    boxes: Sequence[_Box],
    *,
    title: str,
    region: tuple[int, int, int, int] | None = None,
    least_number_share: float = _LEAST_NUMBER_SHARE_QUERY,
) -> _Overview:
    width, height = size_px
    if not (width and height):
        # Sizes are optional in the contract: what is left is the extent of the patches.
        edge_px = edge_px or 1024
        width = max((box.x for box in boxes), default=0) + edge_px
        height = max((box.y for box in boxes), default=0) + edge_px
        picture = None
    side = max(width, height)
    size = min(max(0.5 * edge_px, least_number_share * side), _GREATEST_NUMBER_SHARE * side)
    # In the corner where the patch is large beside its number, else in the middle.
    inset = 0.8 * size if size < 0.4 * edge_px else 0.5 * edge_px
    return _Overview(
        width=width,
        height=height,
        edge=edge_px,
        number_size=size,
        picture=data_uri(picture),
        boxes=tuple(replace(box, number_x=box.x + inset, number_y=box.y + inset) for box in boxes),
        region=region,
        title=title,
    )


@cache
def _template() -> Template:
    # The extra slidekin[cli] brings it; who writes no report needs none.
    import jinja2  # noqa: PLC0415

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("slidekin.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")
