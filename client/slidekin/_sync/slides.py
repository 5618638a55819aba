"""The methods about slides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from slidekin import _calls
from slidekin._names import slide_name
from slidekin._outgoing import OpenSource, OutgoingCodes, OutgoingImages, Progress, as_source
from slidekin._sync.methods import Methods
from slidekin._types import (
    AddedSlide,
    Codes,
    ExportedSlide,
    ImagePatch,
    Slide,
    SlideFilter,
    SlideSource,
    Thumbnails,
)


class SlideMethods(Methods):
    """The calls about slides."""

    def add_slide(
        self,
        source: str | Path | SlideSource,
        *,
        collection: str,
        patient_id: str = "",
        label: str = "",
        attributes: Mapping[str, str] | None = None,
        replace: bool = False,
        progress: Progress | None = None,
        timeout_s: float | None = None,
    ) -> AddedSlide:
        """Reads a slide, picks its mosaic and adds it; on return it is on the service's disk.

        A slide that the collection already holds, from the same file and with the same settings,
        is not read again.

        Args:
            source: The slide, or the slide and how to read it.
            collection: Where to.
            patient_id: Whose slide it is.
            label: What it shows.
            attributes: Further facts to filter by.
            replace: Replace another slide of that id.
            progress: Told how far it is; see `Progress`.
            timeout_s: How long the sending may take, retries included. None: `Timeouts`.

        Raises:
            SlideError: The slide cannot be used.
            AlreadyExistsError: Another slide has that id, and ``replace`` is not set.
        """
        # Asked first, so that an unreachable service is noticed before gigabytes are read.
        limits = self._caller.limits()
        with OpenSource(as_source(source), progress=progress) as opened:
            wanted = opened.facts(
                slide_name(opened.slide_id, collection),
                patient_id=patient_id,
                label=label,
                attributes=attributes or {},
            )
            held = self._caller.find_slide(wanted.name)
            if held is not None and _calls.held_already(held, wanted, replace=replace):
                return AddedSlide(held, already_present=True, index_version=0)
            opened.pick()
            return self._caller.add(
                wanted,
                opened,
                replace=replace,
                thumbnail=opened.thumbnail(max_bytes=limits.max_thumbnail_bytes),
                timeout_s=timeout_s,
            )

    def add_slide_codes(
        self,
        slide: Slide,
        codes: Codes,
        *,
        model_fingerprint: str = "",
        replace: bool = False,
        timeout_s: float | None = None,
    ) -> AddedSlide:
        """Adds a slide as ready-made codes.

        Args:
            slide: Its full name and what is known of it.
            codes: Its patches.
            model_fingerprint: Model that made them. Empty: not stated.
            replace: Replace another slide of that name.
            timeout_s: How long it may take. None: `Timeouts`.
        """
        return self._caller.add(
            slide,
            OutgoingCodes(codes),
            replace=replace,
            model_fingerprint=model_fingerprint,
            timeout_s=timeout_s,
        )

    def add_slide_images(
        self,
        slide: Slide,
        images: Iterable[ImagePatch],
        *,
        thumbnail: bytes | None = None,
        replace: bool = False,
        timeout_s: float | None = None,
    ) -> AddedSlide:
        """Adds a slide as pictures of its patches, for callers that read slides themselves.

        Args:
            slide: Its full name and what is known of it.
            images: Its patches; iterated over in another thread, as they are sent. A call that
                fails half-way is made again only if this is a sequence.
            thumbnail: JPEG of the whole slide.
            replace: Replace another slide of that name.
            timeout_s: How long it may take. None: `Timeouts`.
        """
        return self._caller.add(
            slide, OutgoingImages(images), replace=replace, thumbnail=thumbnail, timeout_s=timeout_s
        )

    def get_slide(self, slide: str, *, collection: str | None = None) -> Slide:
        """One slide.

        Raises:
            NotFoundError: There is none of that name.
        """
        return self._caller.call(_calls.get_slide(slide, collection))

    def batch_get_slides(self, slides: Sequence[str], *, collection: str) -> tuple[Slide, ...]:
        """Up to 1000 slides in the order asked.

        Raises:
            NotFoundError: Names those that are missing.
        """
        return self._caller.call(_calls.batch_get_slides(slides, collection))

    def list_slides(
        self,
        collection: str,
        *,
        filter: SlideFilter | None = None,  # noqa: A002 - the word of the contract
    ) -> Iterator[Slide]:
        """Slides in order of insertion, page by page."""
        wanted = filter or SlideFilter()
        yield from self._caller.pages(lambda token: _calls.list_slides(collection, wanted, token))

    def update_slide(
        self,
        slide: str,
        *,
        collection: str | None = None,
        label: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Slide:
        """Changes what is given; None leaves it as it is. Attributes are replaced as a whole."""
        return self._caller.call(
            _calls.update_slide(slide, collection, label=label, attributes=attributes)
        )

    def delete_slide(self, slide: str, *, collection: str | None = None) -> int:
        """Deletes a slide from disk and index, and returns how many patches went with it."""
        return self._caller.call(_calls.delete_slide(slide, collection))

    def delete_patient(self, patient_id: str, *, collection: str) -> tuple[str, ...]:
        """Deletes every slide of a patient and returns their names.

        Args:
            patient_id: The patient to erase.
            collection: Where; ``-`` means every collection.
        """
        return self._caller.call(_calls.delete_patient(patient_id, collection))

    def export_slides(
        self,
        collection: str,
        *,
        filter: SlideFilter | None = None,  # noqa: A002 - the word of the contract
        timeout_s: float | None = None,
    ) -> Iterator[ExportedSlide]:
        """Slides with their codes in order of insertion, as they come in."""
        yield from self._caller.export(collection, filter or SlideFilter(), timeout_s)

    def get_thumbnails(
        self,
        slide: str,
        *,
        collection: str | None = None,
        patch_indices: Sequence[int] = (),
        slide_thumbnail: bool = True,
    ) -> Thumbnails:
        """Pictures kept with a slide.

        Args:
            slide: The slide.
            collection: Where it is, unless ``slide`` is a full name.
            patch_indices: Patches whose pictures are wanted, from 0.
            slide_thumbnail: The picture of the whole slide is wanted.
        """
        return self._caller.call(
            _calls.get_thumbnails(
                slide, collection, patch_indices=patch_indices, slide_thumbnail=slide_thumbnail
            )
        )
