"""The methods that search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from slidekin import _calls
from slidekin._outgoing import OpenSource, OutgoingCodes, OutgoingImages, Progress, as_source
from slidekin._sync.methods import Methods
from slidekin._types import (
    Codes,
    ImagePatch,
    PatchHits,
    PatchSearchResult,
    SearchOptions,
    SearchResult,
    SlideSource,
)


class SearchMethods(Methods):
    """The calls that search."""

    def search_slide(
        self,
        source: str | Path | SlideSource,
        *,
        collection: str,
        k: int | None = None,
        options: SearchOptions | None = None,
        on_patch_hits: Callable[[PatchHits], None] | None = None,
        progress: Progress | None = None,
        timeout_s: float | None = None,
    ) -> SearchResult:
        """Finds slides that look like a slide on disk, or like a region of it.

        Args:
            source: The slide, or the slide and how to read it.
            collection: Where to search.
            k: Slides to return. None: as the options say.
            options: What is wanted.
            on_patch_hits: Called with the hits of each patch as they come in. Later hits of a
                patch replace earlier ones, also when the search had to start again.
            progress: Told how far it is; see `Progress`.
            timeout_s: How long it may take from the first patch sent. None: `Timeouts`.

        Raises:
            SlideError: The slide cannot be used.
        """
        self._caller.limits()  # an unreachable service is noticed before the slide is read
        with OpenSource(as_source(source), progress=progress, query=True) as opened:
            patches = len(opened.pick().positions)

            def tell(hits: PatchHits) -> None:
                answered.add(hits.query_patch_index)
                if progress is not None:
                    progress("search", len(answered), patches)
                if on_patch_hits is not None:
                    on_patch_hits(hits)

            answered: set[int] = set()
            return self._caller.search_all(
                opened,
                collection,
                _calls.with_k(options, k),
                on_patch_hits=tell,
                timeout_s=timeout_s,
            )

    def search_codes(
        self,
        codes: Codes,
        *,
        collection: str,
        k: int | None = None,
        options: SearchOptions | None = None,
        model_fingerprint: str = "",
        on_patch_hits: Callable[[PatchHits], None] | None = None,
        timeout_s: float | None = None,
    ) -> SearchResult:
        """Finds slides that look like one given by ready-made codes.

        Args:
            codes: Its patches.
            collection: Where to search.
            k: Slides to return. None: as the options say.
            options: What is wanted.
            model_fingerprint: Model that made the codes. Empty: not stated.
            on_patch_hits: Told the hits of each patch as they come in.
            timeout_s: How long it may take. None: `Timeouts`.
        """
        return self._caller.search_all(
            OutgoingCodes(codes),
            collection,
            _calls.with_k(options, k),
            model_fingerprint=model_fingerprint,
            on_patch_hits=on_patch_hits,
            timeout_s=timeout_s,
        )

    def search_images(
        self,
        images: Iterable[ImagePatch],
        *,
        collection: str,
        k: int | None = None,
        options: SearchOptions | None = None,
        on_patch_hits: Callable[[PatchHits], None] | None = None,
        timeout_s: float | None = None,
    ) -> SearchResult:
        """Finds slides that look like one given by pictures of its patches.

        Args:
            images: Its patches; iterated over in another thread, as they are sent.
            collection: Where to search.
            k: Slides to return. None: as the options say.
            options: What is wanted.
            on_patch_hits: Told the hits of each patch as they come in.
            timeout_s: How long it may take. None: `Timeouts`.
        """
        return self._caller.search_all(
            OutgoingImages(images),
            collection,
            _calls.with_k(options, k),
            on_patch_hits=on_patch_hits,
            timeout_s=timeout_s,
        )

    def stream_search(
        self,
        query: str | Path | SlideSource | Codes | Iterable[ImagePatch],
        *,
        collection: str,
        k: int | None = None,
        options: SearchOptions | None = None,
        model_fingerprint: str = "",
        timeout_s: float | None = None,
    ) -> Iterator[PatchHits | SearchResult]:
        """A search that yields hits as they come in; the result is the last item.

        It is never retried, since hits that were yielded cannot be taken back.

        Args:
            query: A slide on disk, codes, or pictures.
            collection: Where to search.
            k: Slides to return. None: as the options say.
            options: What is wanted.
            model_fingerprint: Model that made the codes. Empty: not stated.
            timeout_s: How long it may take. None: `Timeouts`.
        """
        wanted = _calls.with_k(options, k)
        if isinstance(query, str | Path | SlideSource):
            with OpenSource(as_source(query), query=True) as opened:
                opened.pick()
                yield from self._caller.search_once(opened, collection, wanted, timeout_s=timeout_s)
            return
        outgoing = OutgoingCodes(query) if isinstance(query, Codes) else OutgoingImages(query)
        yield from self._caller.search_once(
            outgoing, collection, wanted, model_fingerprint=model_fingerprint, timeout_s=timeout_s
        )

    def search_stored_slide(
        self,
        slide: str,
        *,
        collection: str | None = None,
        k: int | None = None,
        options: SearchOptions | None = None,
        timeout_s: float | None = None,
    ) -> SearchResult:
        """Finds slides that look like a stored one, which is itself left out.

        Args:
            slide: The query.
            collection: Where it is, unless ``slide`` is a full name.
            k: Slides to return. None: as the options say.
            options: What is wanted.
            timeout_s: How long it may take. None: `Timeouts`.
        """
        call = _calls.search_stored_slide(slide, collection, _calls.with_k(options, k))
        return self._caller.call(call, timeout_s)

    def search_patches(
        self,
        patches: Codes | Sequence[ImagePatch],
        *,
        collection: str,
        options: SearchOptions | None = None,
        model_fingerprint: str = "",
        timeout_s: float | None = None,
    ) -> PatchSearchResult:
        """Finds patches that look like the given ones, without a ranking of slides.

        Args:
            patches: The patches; all travel in one message.
            collection: Where to search.
            options: What is wanted; options of the ranking are ignored.
            model_fingerprint: Model that made the codes. Empty: not stated.
            timeout_s: How long it may take. None: `Timeouts`.
        """
        call = _calls.search_patches(
            patches,
            collection,
            options=options or SearchOptions(),
            model_fingerprint=model_fingerprint,
        )
        return self._caller.call(call, timeout_s)
