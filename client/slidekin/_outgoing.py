"""What travels to the service in a stream: a slide being read, ready-made codes, or pictures."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from slidekin._exceptions import InvalidRequestError
from slidekin._types import Codes, ImageFormat, ImagePatch, PatchFormat, Query, Slide, SlideSource
from slidekin._wire import code_messages, image_patch_message
from slidekin.v1 import common_pb2

if TYPE_CHECKING:
    from PIL import Image

    from slidekin.slides import Mosaic, MosaicSettings
    from slidekin.slides import Slide as WholeSlide

Progress = Callable[[str, int, int], None]
"""Told the stage (``tissue``, ``patches``, ``mosaic``, ``send``, ``search``), what is done, and
how much there is in all. May be called from another thread."""

PATCH_PX = 1024
SLIDE_THUMBNAIL_PX = 1024
STORED_PATCH_THUMBNAIL_PX = 128
QUERY_PATCH_THUMBNAIL_PX = 256
WIRE_FORMATS: Mapping[PatchFormat, ImageFormat] = {"jpeg": "jpeg", "png": "png", "raw": "rgb"}
_MESSAGE_SLACK_BYTES = 64 * 1024
"""Room for what surrounds a patch in its message."""
_DIGEST_SCHEME = 1
"""Grows where the same file and settings would give other patches than before."""


class Outgoing(Protocol):
    """Patches for a stream."""

    @property
    def replayable(self) -> bool:
        """``patches`` may be called again."""

    @property
    def profile(self) -> str:
        """Name of the profile that they were picked by; empty where there is none."""

    def patches(self) -> Iterator[common_pb2.Patch]:
        """The patches, in order, made as they are asked for."""

    def query(self) -> Query:
        """What is known of them, for the result of a search."""


class OutgoingCodes:
    """Ready-made codes."""

    replayable = True
    profile = ""

    def __init__(self, codes: Codes, *, slide_id: str = "") -> None:
        self._codes = codes
        self._slide_id = slide_id

    def patches(self) -> Iterator[common_pb2.Patch]:
        return code_messages(self._codes)

    def query(self) -> Query:
        return Query(
            slide_id=self._slide_id, positions=tuple((x, y) for x, y in self._codes.xy.tolist())
        )


class OutgoingImages:
    """Pictures that the caller has read."""

    profile = ""

    def __init__(self, images: Iterable[ImagePatch], *, slide_id: str = "") -> None:
        self._images = images
        self._slide_id = slide_id
        self._positions: list[tuple[int, int]] = []
        self.replayable = isinstance(images, Sequence)

    def patches(self) -> Iterator[common_pb2.Patch]:
        self._positions.clear()
        for image in self._images:
            self._positions.append((image.x_px, image.y_px))
            yield image_patch_message(image)

    def query(self) -> Query:
        return Query(slide_id=self._slide_id, positions=tuple(self._positions))


class OpenSource:
    """A slide on disk, open; its mosaic is picked once and read as often as it takes.

    Args:
        source: The slide and how to read it.
        progress: Told how far the reading is.
        query: Keep thumbnails of the patches for the result, rather than send them along.

    Raises:
        SlideError: The slide cannot be used.
    """

    replayable = True

    def __init__(
        self, source: SlideSource, *, progress: Progress | None = None, query: bool = False
    ) -> None:
        # Slides are only read where a path is given: talking to a service needs none of this.
        from slidekin import slides  # noqa: PLC0415

        self._slides = slides
        self._source = source
        self._progress = progress
        self._is_query = query
        self._settings = mosaic_settings(source)
        self._tissue = source.tissue or slides.TissueSettings()
        self._slide = slides.open_slide(source.path, mpp=source.mpp, slide_id=source.slide_id)
        self._mosaic: Mosaic | None = None
        self._thumbnail: Image.Image | None = None
        self._patch_thumbnails: dict[int, bytes] = {}
        self._reading = threading.Lock()

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
    def slide_id(self) -> str:
        """The slide's id."""
        return self._slide.slide_id

    def source_digest(self) -> str:
        """SHA-256 (hex) of the file's content and of everything that picks its patches.

        See `source_digest`.
        """
        return source_digest(self._slide, self._source)

    def facts(
        self, name: str, *, patient_id: str, label: str, attributes: Mapping[str, str]
    ) -> Slide:
        """What is stated of the slide when it is added."""
        width_px, height_px = self._slide.dimensions
        return Slide(
            name=name,
            patient_id=patient_id,
            label=label,
            attributes=attributes,
            width_px=width_px,
            height_px=height_px,
            mpp=self._slide.mpp,
            patch_size_px=self._slide.patch_size_px,
            source_digest=self.source_digest(),
        )

    @property
    def profile(self) -> str:
        """Named only where it is the published one to the letter: that asks for fp32."""
        return self._settings.profile if self._settings == self._slides.SISH_2022 else ""

    def pick(self) -> Mosaic:
        """Finds the tissue and picks the mosaic, the first time it is asked."""
        with self._reading:
            if self._mosaic is None:
                self._mosaic = self._slides.make_mosaic(
                    self._slide,
                    self._settings,
                    tissue_settings=self._tissue,
                    region=self._source.region,
                    workers=self._source.workers,
                    progress=self._progress,
                )
            return self._mosaic

    def patches(self) -> Iterator[common_pb2.Patch]:
        mosaic = self.pick()
        total = len(mosaic.positions)
        reading = self._slides.read_patches(self._slide, mosaic, workers=self._source.workers)
        for index, patch in enumerate(reading):
            message = image_patch_message(
                ImagePatch(
                    x_px=patch.x,
                    y_px=patch.y,
                    data=self._slides.encode_patch(patch.image, self._source.patch_format),
                    format=WIRE_FORMATS[self._source.patch_format],
                    width_px=PATCH_PX,
                    height_px=PATCH_PX,
                    thumbnail=None
                    if self._is_query
                    else self._slides.patch_thumbnail(patch.image, STORED_PATCH_THUMBNAIL_PX),
                )
            )
            if self._is_query:
                self._patch_thumbnails[index] = self._slides.patch_thumbnail(
                    patch.image, QUERY_PATCH_THUMBNAIL_PX
                )
            yield message
            if self._progress is not None:
                self._progress("send", index + 1, total)

    def thumbnail(self, *, max_bytes: int = 0) -> bytes:
        """A JPEG of the whole slide of at most ``max_bytes`` (0: of any size)."""
        with self._reading:
            if self._thumbnail is None:
                self._thumbnail = self._slide.thumbnail(SLIDE_THUMBNAIL_PX)
        side_px = SLIDE_THUMBNAIL_PX
        data = self._slides.image_thumbnail(self._thumbnail, side_px)
        while max_bytes and len(data) > max_bytes and side_px > 1:
            side_px //= 2
            data = self._slides.image_thumbnail(self._thumbnail, side_px)
        return data

    def query(self) -> Query:
        mosaic = self.pick()
        width_px, height_px = self._slide.dimensions
        return Query(
            slide_id=self.slide_id,
            positions=tuple((x, y) for x, y in mosaic.positions),
            width_px=width_px,
            height_px=height_px,
            mpp=self._slide.mpp,
            patch_size_px=self._slide.patch_size_px,
            mosaic_profile=self._settings.profile,
            region=_region_tuple(self._source),
            thumbnail=self.thumbnail(),
            patch_thumbnails=dict(self._patch_thumbnails),
        )

    def close(self) -> None:
        """Closes the slide, whose patches must not be read any more.

        Waits where the mosaic is being picked.
        """
        with self._reading:
            self._slide.close()


def as_source(source: str | Path | SlideSource) -> SlideSource:
    """A path alone is read with the defaults."""
    return source if isinstance(source, SlideSource) else SlideSource(path=source)


def source_digest(slide: WholeSlide, source: SlideSource) -> str:
    """SHA-256 (hex) of a slide's content and of everything that picks its patches.

    Equal digests give equal patches, so a slide that is held under this digest need not be read
    again.
    """
    from slidekin.slides import TissueSettings  # noqa: PLC0415 - as below

    made_of = {
        "scheme": _DIGEST_SCHEME,
        "content": slide.source_digest,
        "mpp": slide.mpp,
        "mosaic": dataclasses.asdict(mosaic_settings(source)),
        "tissue": dataclasses.asdict(source.tissue or TissueSettings()),
        "region": _region_tuple(source),
        "format": source.patch_format,
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def _region_tuple(source: SlideSource) -> tuple[int, int, int, int] | None:
    region = source.region
    return None if region is None else (region.x, region.y, region.width, region.height)


def check_size(
    patches: Iterable[common_pb2.Patch], max_message_bytes: int
) -> Iterator[common_pb2.Patch]:
    """Passes patches on; refuses one that fits no message, before the service has to.

    Raises:
        InvalidRequestError: A patch is too large.
    """
    most = max_message_bytes - _MESSAGE_SLACK_BYTES
    for index, patch in enumerate(patches):
        if max_message_bytes and patch.ByteSize() > most:
            raise InvalidRequestError(
                f"patch {index} at ({patch.x_px}, {patch.y_px}) has {patch.ByteSize():,} bytes and "
                f"the service takes {most:,}: send it as JPEG, or raise limits.max_message_bytes "
                "there",
                code="INVALID_ARGUMENT",
                reason="PATCH_TOO_LARGE",
            )
        yield patch


def mosaic_settings(source: SlideSource) -> MosaicSettings:
    """How the mosaic is picked.

    Raises:
        ValueError: There is no profile of that name.
    """
    from slidekin.slides import PROFILES  # noqa: PLC0415 - as above

    if not isinstance(source.mosaic, str):
        return source.mosaic
    try:
        return PROFILES[source.mosaic]
    except KeyError:
        raise ValueError(
            f"{source.mosaic!r} is no mosaic profile; there are {', '.join(PROFILES)}"
        ) from None
