"""A search result made by hand."""

from __future__ import annotations

import dataclasses
from io import BytesIO

from PIL import Image

from slidekin import (
    Evidence,
    Hit,
    PatchHits,
    Query,
    RankedSlide,
    SearchOptions,
    SearchResult,
    Slide,
    SlideFilter,
    Thumbnails,
    Timings,
)
from slidekin.report import Pictures

HOSTILE = "<script>alert('x')<|script> & \"quoted\""


def jpeg(colour: str) -> bytes:
    """A small picture."""
    buffer = BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def _found(rank: int, slide_id: str, label: str, patches: tuple[int, ...]) -> RankedSlide:
    slide = Slide(
        f"collections/c/slides/{slide_id}",
        patient_id=f"patient-{rank}",
        label=label,
        width_px=9000,
        height_px=7000,
        patch_size_px=1024,
    )
    return RankedSlide(
        rank=rank,
        slide=slide,
        hamming_distance_bits=40 + rank,
        query_patch_index=0,
        method="uncertainty",
        entropy=0.25,
        score=None,
        evidence=tuple(
            Evidence(
                query_patch_index=number,
                query_x_px=number * 1024,
                query_y_px=2048,
                hit=Hit(slide.name, patch, 100 * patch, 200 * patch, 77, 40 + rank + number),
            )
            for number, patch in enumerate(patches)
        ),
    )


RESULT = SearchResult(
    collection="collections/c",
    options=SearchOptions(k=5, filter=SlideFilter(exclude_patient_ids=["patient-0"])),
    query=Query(
        slide_id="query-1",
        positions=((0, 2048), (1024, 2048), (4096, 0)),
        width_px=8000,
        height_px=6000,
        mpp=0.5,
        patch_size_px=1024,
        mosaic_profile="default",
        thumbnail=jpeg("pink"),
        patch_thumbnails={0: jpeg("red"), 1: jpeg("blue"), 2: jpeg("green")},
    ),
    slides=(_found(1, "found-1", "carcinoma", (3, 5)), _found(2, "found-2", HOSTILE, ())),
    patch_hits=(
        PatchHits(0, (Hit("collections/c/slides/found-1", 3, 300, 600, 77, 41),), 12, "guided"),
    ),
    short_reasons=("no-hits",),
    short_messages=(f"only two: {HOSTILE}",),
    modes={"guided": 2, "exact": 1},
    query_patch_count=3,
    index_version=9,
    model_fingerprint="ab" * 32,
    random_weights=False,
    timings=Timings(total_s=1.5, encode_s=4.0, search_s=0.01, rank_s=0.001),
)
PICTURES = Pictures(
    {"collections/c/slides/found-1": Thumbnails(slide=jpeg("white"), patches={3: jpeg("black")})}
)


def with_random_weights() -> SearchResult:
    """The same, answered by networks that were never trained."""
    return dataclasses.replace(RESULT, random_weights=True)
