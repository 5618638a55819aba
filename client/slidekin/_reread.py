"""A slide that a collection holds, read from its file once more where its patches lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, get_args

from slidekin._exceptions import NotFoundError, OtherSlideError
from slidekin._outgoing import (
    PATCH_PX,
    WIRE_FORMATS,
    Progress,
    mosaic_settings,
    source_digest,
)
from slidekin._types import Codes, ImagePatch, PatchFormat, Query, Slide, SlideSource
from slidekin._wire import image_patch_message
from slidekin.v1 import common_pb2


class RereadSource:
    """The patches of a held slide, out of its file.

    The mosaic is not picked again: the places are those that the collection holds. The file has to
    be the one that the slide was added from, with the settings it was added with: those given, or
    those of a profile.

    Args:
        source: The file and how to read it. Its ``mpp`` gives way to the slide's.
        held: The slide as it is held.
        codes: Its codes, for the places of its patches.
        unverified: Take the file's word for it where only sizes can be compared.
        progress: Told how far the reading is.

    Raises:
        SlideError: The file cannot be used, or it is another slide's.
    """

    replayable = True

    def __init__(
        self,
        source: SlideSource,
        held: Slide,
        codes: Codes,
        *,
        unverified: bool = False,
        progress: Progress | None = None,
    ) -> None:
        # Slides are only read where a path is given: talking to a service needs none of this.
        from slidekin import slides  # noqa: PLC0415

        self._slides = slides
        self._held = held
        self._positions = [slides.Position(x, y) for x, y in codes.xy.tolist()]
        self._progress = progress
        self._slide = slides.open_slide(
            source.path, mpp=held.mpp or source.mpp, slide_id=held.slide_id
        )
        try:
            self._source = self._verified(source, unverified=unverified)
        except BaseException:
            self._slide.close()
            raise
        # As the mosaic's own reading does it.
        self._settings = mosaic_settings(self._source)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def profile(self) -> str:
        """Name of the profile that they were picked by; empty where there is none."""
        return self._settings.profile if self._settings == self._slides.SISH_2022 else ""

    def patches(self) -> Iterator[common_pb2.Patch]:
        total = len(self._positions)
        reading = self._slides.read_patches_at(
            self._slide,
            self._positions,
            level_0=self._settings.histogram_mpp is None,
            workers=self._source.workers,
        )
        for index, patch in enumerate(reading):
            yield image_patch_message(
                ImagePatch(
                    x_px=patch.x,
                    y_px=patch.y,
                    data=self._slides.encode_patch(patch.image, self._source.patch_format),
                    format=WIRE_FORMATS[self._source.patch_format],
                    width_px=PATCH_PX,
                    height_px=PATCH_PX,
                )
            )
            if self._progress is not None:
                self._progress("send", index + 1, total)

    def query(self) -> Query:
        return Query(slide_id=self._held.slide_id)

    def close(self) -> None:
        """Closes the slide."""
        self._slide.close()

    def _verified(self, source: SlideSource, *, unverified: bool) -> SlideSource:
        """The source with the settings that the slide was added with.

        Raises:
            OtherSlideError: None fit.
        """
        held, slide = self._held, self._slide
        sizes = (*slide.dimensions, slide.patch_size_px)
        stored = (held.width_px, held.height_px, held.patch_size_px)
        if any(one and one != other for one, other in zip(stored, sizes, strict=True)):
            raise OtherSlideError(
                f"is not the slide {held.slide_id!r} that is held: its width, height and patch at "
                f"level 0 are {sizes} px, not {stored}; name the file that it was added from",
                path=slide.path,
            )
        if unverified:
            return source
        if held.source_digest:
            for candidate in self._candidates(source):
                if source_digest(slide, candidate) == held.source_digest:
                    return candidate
        raise OtherSlideError(
            f"cannot be shown to be what {held.slide_id!r} was added from: "
            + (
                "the file has changed since, or it was added with settings of its own"
                if held.source_digest
                else "it was added without its file's digest"
            )
            + "; where you know that it is, say so (unverified)",
            path=slide.path,
        )

    def _candidates(self, source: SlideSource) -> Iterator[SlideSource]:
        yield source
        for profile in self._slides.PROFILES:
            for patch_format in get_args(PatchFormat):
                yield dataclasses.replace(
                    source, mosaic=profile, tissue=None, region=None, patch_format=patch_format
                )


def held_id(source: SlideSource) -> str:
    """Id of the slide that a source is of: the one stated, else as when it was added."""
    if source.slide_id:
        return source.slide_id
    path = Path(source.path)
    return path.resolve().name if path.is_dir() else path.stem


def gone_meanwhile(held: Slide) -> NotFoundError:
    """The error for a slide that was deleted between two looks."""
    return NotFoundError(f"{held.name} was deleted meanwhile", code="NOT_FOUND", resource=held.name)
