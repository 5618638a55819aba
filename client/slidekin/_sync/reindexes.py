"""The methods that give a collection another model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from slidekin import _calls
from slidekin._names import slide_name
from slidekin._outgoing import OutgoingCodes, Progress, as_source
from slidekin._reread import RereadSource, gone_meanwhile, held_id
from slidekin._sync.slides import SlideMethods
from slidekin._types import AddedSlide, Codes, Collection, Reindex, Slide, SlideFilter, SlideSource


class ReindexMethods(SlideMethods):
    """The calls that give a collection another model."""

    def start_reindex(
        self,
        collection: str,
        *,
        model_fingerprint: str = "",
        texture_bits: int = 0,
        hamming_threshold_bits: int = 0,
    ) -> Reindex:
        """Begins to move a collection to another model; searches go on using the old one.

        To resume a reindex, start it again: one that is under way with the same model is returned.
        Searches use the new codes after `finish_reindex`.

        Args:
            collection: The collection.
            model_fingerprint: Model that it is to have. Empty: the one that new collections get.
            texture_bits: Bits of a texture. 0: as that model, which must be served.
            hamming_threshold_bits: Distance up to which textures are alike. 0: the model's.

        Raises:
            FailedPreconditionError: It has that model, or is being given another one.
        """
        return self._caller.call(
            _calls.start_reindex(
                collection,
                model_fingerprint=model_fingerprint,
                texture_bits=texture_bits,
                hamming_threshold_bits=hamming_threshold_bits,
            )
        )

    def get_reindex(self, collection: str) -> Reindex:
        """How far a reindex is.

        Raises:
            FailedPreconditionError: None is under way.
        """
        return self._caller.call(_calls.get_reindex(collection))

    def list_pending_slides(self, collection: str) -> Iterator[Slide]:
        """Slides that have no new codes yet, in order of insertion, page by page."""
        yield from self._caller.pages(lambda token: _calls.list_pending_slides(collection, token))

    def reindex_slide(
        self,
        source: str | Path | SlideSource,
        *,
        collection: str,
        unverified: bool = False,
        progress: Progress | None = None,
        timeout_s: float | None = None,
    ) -> AddedSlide:
        """Encodes a stored slide again from its file, for the reindex that is under way.

        The same patches are read as before; facts and thumbnails stay. A slide that is already
        encoded for this reindex is not read again.

        Args:
            source: The slide's file, or the file and how the slide was read when it was added.
            collection: The collection.
            unverified: Accept a file even if its digest does not prove that the slide came from it.
            progress: Told how far it is; see `Progress`.
            timeout_s: How long the sending may take, retries included. None: `Timeouts`.

        Raises:
            SlideError: The file cannot be used, or is not the one that was added.
            NotFoundError: The collection holds no such slide.
            FailedPreconditionError: No reindex is under way, or the slide was replaced meanwhile.
        """
        wanted = as_source(source)
        held = self.get_slide(held_id(wanted), collection=collection)
        for stored in self.export_slides(collection, filter=SlideFilter(slides=(held.name,))):
            with RereadSource(
                wanted, stored.slide, stored.codes, unverified=unverified, progress=progress
            ) as reread:
                return self._caller.add(
                    stored.slide, reread, replace=False, for_reindex=True, timeout_s=timeout_s
                )
        raise gone_meanwhile(held)

    def reindex_slide_codes(
        self,
        slide: str,
        codes: Codes,
        *,
        collection: str | None = None,
        model_fingerprint: str,
        timeout_s: float | None = None,
    ) -> AddedSlide:
        """Gives a stored slide ready-made new codes, for the reindex that is under way.

        Args:
            slide: The slide.
            codes: Codes of its patches, at the same places and in the same order as stored.
            collection: Where it is, unless ``slide`` is a full name.
            model_fingerprint: Model that made the codes: the one the collection is moving to.
            timeout_s: How long it may take. None: `Timeouts`.
        """
        return self._caller.add(
            Slide(slide_name(slide, collection)),
            OutgoingCodes(codes),
            replace=False,
            model_fingerprint=model_fingerprint,
            for_reindex=True,
            timeout_s=timeout_s,
        )

    def finish_reindex(
        self,
        collection: str,
        *,
        model_fingerprint: str,
        drop_slides: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> Collection:
        """Replaces the old codes by the new ones, in one step.

        May be repeated: a collection that has the model already, and no reindex, is returned.

        Args:
            collection: The collection.
            model_fingerprint: Model that it is to have.
            drop_slides: Slides to delete if they have no new codes.
            timeout_s: How long it may take. None: as long as a search.

        Raises:
            FailedPreconditionError: Slides are pending, or no such reindex is under way.
        """
        call = _calls.finish_reindex(collection, model_fingerprint, drop_slides)
        return self._caller.call(call, timeout_s)

    def cancel_reindex(self, collection: str) -> int:
        """Ends a reindex, and returns how many slides had been encoded anew; 0 where none was."""
        return self._caller.call(_calls.cancel_reindex(collection))
