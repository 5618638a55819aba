"""The client for programs that wait for their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from slidekin import _calls
from slidekin._caller import Caller
from slidekin._credentials import Credential, Token
from slidekin._names import collection_name, slide_name
from slidekin._outgoing import (
    OpenSource,
    OutgoingCodes,
    OutgoingImages,
    Progress,
    as_source,
)
from slidekin._reread import RereadSource, gone_meanwhile, held_id
from slidekin._tracing import CallTracing
from slidekin._transport import DEFAULT_TARGET
from slidekin._types import (
    AddedSlide,
    Codes,
    Collection,
    ExportedSlide,
    ImagePatch,
    PatchHits,
    PatchSearchResult,
    Reindex,
    Retry,
    SearchOptions,
    SearchResult,
    Slide,
    SlideFilter,
    SlideSource,
    Snapshot,
    Status,
    Thumbnails,
    Timeouts,
    Tls,
)

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


class Client:
    """Talks to a slidekin service. Safe to share between threads; make one and keep it.

    Collections and slides are named by id (``breast``) or by full resource name
    (``collections/breast``, ``collections/breast/slides/S1``); a slide's id needs its collection
    beside it. Every method raises `ServiceError` or one of its kinds where the service refuses or
    cannot be reached, and ``ValueError`` for an argument that cannot be meant.

    Args:
        target: Address of the service, ``host:port``. Several replicas are used in turns: a list
            ``host:port,host:port``, or a name with several addresses (``dns:///service:50051``).
        tls: Encrypt, and how. None: plain text, for this machine or a trusted network.
        api_key: Says who is calling: a key made by ``slidekin-server keys create``.
        token: Says it instead: a bearer token of the identity provider, or a function that returns
            one. A function is asked before every call, so let it keep its token until that expires.
        plaintext_credentials: Send key or token unencrypted, too, to another machine. Only where
            something else closes the way there.
        timeouts: How long calls may take where a call states nothing else.
        retry: How often a call that may be repeated is made again.
        tracer_provider: Makes a span of each attempt of a call. None: the one that the program has
            set up for OpenTelemetry, if any.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        tls: Tls | None = None,
        api_key: str | None = None,
        token: Token | None = None,
        plaintext_credentials: bool = False,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        self._caller = Caller(
            target,
            tls=tls,
            credential=Credential(
                api_key,
                token,
                target=target,
                encrypted=tls is not None,
                plaintext=plaintext_credentials,
            ),
            timeouts=timeouts,
            retry=retry,
            tracing=CallTracing(tracer_provider),
        )

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
    def target(self) -> str:
        """Address of the service."""
        return self._caller.target

    def close(self) -> None:
        """Closes the connection; calls under way are cancelled."""
        self._caller.close()

    def status(self) -> Status:
        """What the service serves, in which state, and within which limits."""
        return self._caller.call(_calls.get_status())

    # Snapshots.

    def create_snapshot(self, *, timeout_s: float | None = None) -> Snapshot:
        """Has the service copy its store, while it is in use, and check the copy.

        Args:
            timeout_s: None: as for a search. A store of 1 GB takes about ten seconds.

        Raises:
            ResourceExhaustedError: The service's disk is full.
        """
        return self._caller.call(_calls.create_snapshot(), timeout_s)

    def list_snapshots(self) -> list[Snapshot]:
        """The service's snapshots, newest first, as their manifests tell."""
        return self._caller.call(_calls.list_snapshots())

    def check_snapshot(self, snapshot: str, *, timeout_s: float | None = None) -> Snapshot:
        """Has the service look at every byte of a snapshot.

        Args:
            snapshot: Its name.
            timeout_s: None: as for a search.

        Raises:
            InternalError: It is damaged.
            NotFoundError: There is none of that name.
        """
        return self._caller.call(_calls.check_snapshot(snapshot), timeout_s)

    # Collections.

    def create_collection(
        self,
        collection: str,
        *,
        display_name: str = "",
        description: str = "",
        model_fingerprint: str = "",
        texture_bits: int = 0,
        hamming_threshold_bits: int = 0,
    ) -> Collection:
        """Creates an empty collection; one that is there already and equal is returned.

        Args:
            collection: Its id.
            display_name: Name for people.
            description: What it is to hold.
            model_fingerprint: Model of its codes. Empty: the one that is served.
            texture_bits: Bits of a texture. 0: as the model that is served.
            hamming_threshold_bits: Distance up to which textures are alike. 0: the model's.

        Raises:
            AlreadyExistsError: One of that name is there and differs.
        """
        wanted = Collection(
            name=collection_name(collection),
            display_name=display_name,
            description=description,
            model_fingerprint=model_fingerprint,
            texture_bits=texture_bits,
            hamming_threshold_bits=hamming_threshold_bits,
        )
        return self._caller.call(_calls.create_collection(wanted))

    def get_collection(self, collection: str) -> Collection:
        """One collection.

        Raises:
            NotFoundError: There is none of that name.
        """
        return self._caller.call(_calls.get_collection(collection))

    def list_collections(self) -> Iterator[Collection]:
        """All collections in order of creation, page by page."""
        yield from self._caller.pages(_calls.list_collections)

    def update_collection(
        self, collection: str, *, display_name: str | None = None, description: str | None = None
    ) -> Collection:
        """Changes what is given; None leaves it as it is."""
        return self._caller.call(
            _calls.update_collection(collection, display_name=display_name, description=description)
        )

    def delete_collection(self, collection: str, *, force: bool = False) -> int:
        """Deletes a collection and returns how many slides went with it.

        Raises:
            FailedPreconditionError: It holds slides and ``force`` is not set.
        """
        return self._caller.call(_calls.delete_collection(collection, force=force))

    # Reindex.

    def start_reindex(
        self,
        collection: str,
        *,
        model_fingerprint: str = "",
        texture_bits: int = 0,
        hamming_threshold_bits: int = 0,
    ) -> Reindex:
        """Begins to give a collection another model, while searches use the old one.

        One that is under way with the same model is returned: a reindex is resumed by starting it
        again. What is encoded anew shows with `finish_reindex`.

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
        """Slides that are not encoded anew yet, in order of insertion, page by page."""
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
        """Encodes a held slide anew from its file, for the reindex that is under way.

        The patches are read where the collection's lie; facts and thumbnails stay. A slide that is
        encoded anew already is not read again.

        Args:
            source: The slide's file, or the file and how the slide was read when it was added.
            collection: The collection.
            unverified: Take a file whose digest does not show that the slide was added from it.
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
        """Gives a held slide new codes by ready-made ones, for the reindex that is under way.

        Args:
            slide: The slide.
            codes: Of its patches, at their places and in their order.
            collection: Where it is, unless ``slide`` is a full name.
            model_fingerprint: Model that made them: the one that the collection is to have.
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
        """Puts the new codes in the place of the old ones, in one step.

        May be repeated: a collection that has that model and no reindex is returned.

        Args:
            collection: The collection.
            model_fingerprint: Model that it is to have.
            drop_slides: Slides that are deleted where they are not encoded anew.
            timeout_s: None: as for a search.

        Raises:
            FailedPreconditionError: Slides are pending, or no such reindex is under way.
        """
        call = _calls.finish_reindex(collection, model_fingerprint, drop_slides)
        return self._caller.call(call, timeout_s)

    def cancel_reindex(self, collection: str) -> int:
        """Ends a reindex, and returns how many slides had been encoded anew; 0 where none was."""
        return self._caller.call(_calls.cancel_reindex(collection))

    # Slides.

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
        """Reads a slide, picks its mosaic and adds it; when this returns, it is on disk.

        A slide that the collection holds already, from the same file with the same settings, is
        not read again.

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
            AlreadyExistsError: Another slide of that id is there, and ``replace`` is not set.
        """
        # Asked first: nobody there is said before a slide of gigabytes is read.
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
        """Adds a slide by ready-made codes.

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
        """Adds a slide by pictures of its patches, where the caller does the reading.

        Args:
            slide: Its full name and what is known of it.
            images: Its patches, made as they are asked for; from another thread. A call that
                fails half-way is made again only where this is a sequence.
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

    # Search.

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
            on_patch_hits: Told the hits of each patch as they come in; later ones of a patch
                replace earlier ones, also where the search had to start again.
            progress: Told how far it is; see `Progress`.
            timeout_s: How long it may take from the first patch sent. None: `Timeouts`.

        Raises:
            SlideError: The slide cannot be used.
        """
        self._caller.limits()  # nobody there is said before the slide is read
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
            images: Its patches, made as they are asked for; from another thread.
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
        """A search whose hits are handed out as they come in; the result is the last item.

        Never starts again by itself: hits that were handed out cannot be taken back.

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
        """Finds slides that look like one the collection holds; that one is left out.

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
            options: What is wanted; what concerns the ranking is ignored.
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
