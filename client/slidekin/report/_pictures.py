"""The pictures a report shows, fetched from the service where it keeps them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from slidekin._exceptions import NotFoundError
from slidekin._sync import Client
from slidekin._types import Query, SearchResult, SlideFilter, Thumbnails


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures of ranked slides, by resource name. A slide without pictures has no entry."""

    by_slide: Mapping[str, Thumbnails] = field(default_factory=dict)

    def slide(self, name: str) -> bytes | None:
        """The picture of a whole slide."""
        kept = self.by_slide.get(name)
        return kept.slide if kept else None

    def patch(self, name: str, index: int) -> bytes | None:
        """The picture of one patch."""
        kept = self.by_slide.get(name)
        return kept.patches.get(index) if kept else None


def fetch_pictures(
    client: Client, result: SearchResult, *, progress: Callable[[int, int], None] | None = None
) -> Pictures:
    """Fetches what the ranked slides and their matched patches look like.

    A slide deleted since the search has no pictures; that is no error.

    Args:
        client: The service that answered.
        result: Its answer.
        progress: Told slides done, and slides in all.
    """
    by_slide: dict[str, Thumbnails] = {}
    for number, found in enumerate(result.slides, start=1):
        indices = sorted({pair.hit.patch_index for pair in found.evidence})
        with contextlib.suppress(NotFoundError):
            by_slide[found.slide.name] = client.get_thumbnails(
                found.slide.name, patch_indices=indices
            )
        if progress is not None:
            progress(number, len(result.slides))
    return Pictures(by_slide)


def with_stored_query(client: Client, result: SearchResult) -> SearchResult:
    """The result of a search with a stored slide, with what the service knows of that slide."""
    name = f"{result.collection}/slides/{result.query.slide_id}"
    slide = client.get_slide(name)
    (exported,) = client.export_slides(result.collection, filter=SlideFilter(slides=(name,)))
    indices = sorted({pair.query_patch_index for f in result.slides for pair in f.evidence})
    kept = client.get_thumbnails(name, patch_indices=indices)
    query = Query(
        slide_id=slide.slide_id,
        positions=tuple((x, y) for x, y in exported.codes.xy.tolist()),
        width_px=slide.width_px,
        height_px=slide.height_px,
        mpp=slide.mpp,
        patch_size_px=slide.patch_size_px,
        thumbnail=kept.slide,
        patch_thumbnails=kept.patches,
    )
    return dataclasses.replace(result, query=query)
