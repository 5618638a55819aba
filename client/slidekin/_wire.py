"""Between the SDK's values and the messages of ``slidekin.v1``. Pure functions, no transport."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np
from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from slidekin._names import slide_name
from slidekin._types import (
    AddedSlide,
    Codes,
    Collection,
    EncoderState,
    Evidence,
    ExportedSlide,
    Hit,
    ImageFormat,
    ImagePatch,
    Limits,
    Model,
    Network,
    PatchHits,
    PatchSearchResult,
    Query,
    RankedSlide,
    RankingDetails,
    RankingFallback,
    RankingMethod,
    Reindex,
    SearchMode,
    SearchOptions,
    SearchResult,
    ServedModel,
    Slide,
    SlideFilter,
    Snapshot,
    Status,
    Thumbnails,
    Timings,
)
from slidekin.v1 import admin_pb2, collections_pb2, common_pb2, search_pb2, slides_pb2

_MODES: Mapping[SearchMode, common_pb2.SearchMode.ValueType] = {
    "auto": common_pb2.SEARCH_MODE_UNSPECIFIED,
    "guided": common_pb2.SEARCH_MODE_GUIDED,
    "exact": common_pb2.SEARCH_MODE_EXACT,
    "hybrid": common_pb2.SEARCH_MODE_HYBRID,
}
_METHODS: Mapping[RankingMethod, search_pb2.RankingMethod.ValueType] = {
    "auto": search_pb2.RANKING_METHOD_UNSPECIFIED,
    "uncertainty": search_pb2.RANKING_METHOD_UNCERTAINTY,
    "label-free": search_pb2.RANKING_METHOD_LABEL_FREE,
}
_FALLBACKS: Mapping[RankingFallback, search_pb2.RankingFallback.ValueType] = {
    "auto": search_pb2.RANKING_FALLBACK_UNSPECIFIED,
    "none": search_pb2.RANKING_FALLBACK_NONE,
    "label-free": search_pb2.RANKING_FALLBACK_LABEL_FREE,
}
_FORMATS: Mapping[ImageFormat, common_pb2.ImageFormat.ValueType] = {
    "jpeg": common_pb2.IMAGE_FORMAT_JPEG,
    "png": common_pb2.IMAGE_FORMAT_PNG,
    "rgb": common_pb2.IMAGE_FORMAT_RGB,
}
_ENCODER_STATES: Mapping[int, EncoderState] = {
    admin_pb2.ENCODER_STATE_ABSENT: "absent",
    admin_pb2.ENCODER_STATE_STARTING: "starting",
    admin_pb2.ENCODER_STATE_READY: "ready",
    admin_pb2.ENCODER_STATE_UNAVAILABLE: "unavailable",
    admin_pb2.ENCODER_STATE_CANARY_MISMATCH: "canary-mismatch",
}


_K = TypeVar("_K", bound=str)
_V = TypeVar("_V")


# From values to messages.


def options_message(options: SearchOptions, *, collection: str) -> search_pb2.SearchOptions:
    """The options of a search in ``collection``, whose slides the filter may name by id."""
    guided = options.guided
    return search_pb2.SearchOptions(
        k=options.k,
        mode=_chosen(_MODES, options.mode, "mode"),
        profile=options.profile,
        filter=filter_message(options.filter, collection=collection),
        hamming_threshold_bits=options.hamming_threshold_bits,
        guided=search_pb2.GuidedParameters(
            seed_spacing=guided.seed_spacing,
            seeds_per_side=guided.seeds_per_side,
            successor_steps=guided.successor_steps,
            predecessor_steps=guided.predecessor_steps,
            include_seed_key=guided.include_seed_key,
        ),
        ranking=_chosen(_METHODS, options.ranking, "ranking"),
        fallback=_chosen(_FALLBACKS, options.fallback, "fallback"),
        label_weight_sum=options.label_weight_sum,
        max_hits_per_patch=options.max_hits_per_patch,
        max_evidence_per_slide=options.max_evidence_per_slide,
        include_ranking_details=options.include_ranking_details,
    )


def filter_message(wanted: SlideFilter, *, collection: str) -> common_pb2.SlideFilter:
    """The filter; ids of slides become names within ``collection``."""
    return common_pb2.SlideFilter(
        labels=wanted.labels,
        attributes=[
            common_pb2.AttributeCondition(attribute=name, values=values)
            for name, values in wanted.attributes.items()
        ],
        slides=[slide_name(slide, collection) for slide in wanted.slides],
        exclude_patient_ids=wanted.exclude_patient_ids,
        exclude_slides=[slide_name(slide, collection) for slide in wanted.exclude_slides],
    )


def slide_message(slide: Slide) -> slides_pb2.Slide:
    """The facts a client may state; what the service sets is left out."""
    return slides_pb2.Slide(
        name=slide.name,
        patient_id=slide.patient_id,
        label=slide.label,
        attributes=slide.attributes,
        width_px=slide.width_px,
        height_px=slide.height_px,
        mpp=slide.mpp,
        patch_size_px=slide.patch_size_px,
        source_digest=slide.source_digest,
    )


def image_patch_message(patch: ImagePatch) -> common_pb2.Patch:
    """A patch to be encoded by the service."""
    message = common_pb2.Patch(
        x_px=patch.x_px,
        y_px=patch.y_px,
        image=common_pb2.Image(
            format=_chosen(_FORMATS, patch.format, "format"),
            data=patch.data,
            width_px=patch.width_px,
            height_px=patch.height_px,
        ),
    )
    if patch.thumbnail is not None:
        message.thumbnail.CopyFrom(jpeg_message(patch.thumbnail))
    return message


def jpeg_message(data: bytes) -> common_pb2.Image:
    """A JPEG file."""
    return common_pb2.Image(format=common_pb2.IMAGE_FORMAT_JPEG, data=data)


def code_messages(codes: Codes) -> Iterator[common_pb2.Patch]:
    """Ready-made codes, patch by patch."""
    for key, texture, (x, y) in zip(
        codes.keys.tolist(), codes.textures, codes.xy.tolist(), strict=True
    ):
        yield common_pb2.Patch(
            x_px=x, y_px=y, code=common_pb2.Code(key=key, texture=texture.tobytes())
        )


# From messages to values.


def to_slide(message: slides_pb2.Slide) -> Slide:
    """A slide as the service knows it."""
    return Slide(
        name=message.name,
        patient_id=message.patient_id,
        label=message.label,
        attributes=dict(message.attributes),
        width_px=message.width_px,
        height_px=message.height_px,
        mpp=message.mpp,
        patch_size_px=message.patch_size_px,
        source_digest=message.source_digest,
        content_digest=message.content_digest,
        patch_count=message.patch_count,
        create_time=_to_time(message.create_time, present=message.HasField("create_time")),
    )


def to_collection(message: collections_pb2.Collection) -> Collection:
    """A collection as the service knows it."""
    return Collection(
        name=message.name,
        display_name=message.display_name,
        description=message.description,
        model_fingerprint=message.model_fingerprint,
        texture_bits=message.texture_bits,
        hamming_threshold_bits=message.hamming_threshold_bits,
        slide_count=message.slide_count,
        patch_count=message.patch_count,
        index_version=message.index_version,
        create_time=_to_time(message.create_time, present=message.HasField("create_time")),
        reindex_model_fingerprint=message.reindex_model_fingerprint,
    )


def to_reindex(message: collections_pb2.Reindex) -> Reindex:
    """A collection on its way to another model."""
    return Reindex(
        collection=message.collection,
        model_fingerprint=message.model_fingerprint,
        texture_bits=message.texture_bits,
        hamming_threshold_bits=message.hamming_threshold_bits,
        done_slide_count=message.done_slide_count,
        pending_slide_count=message.pending_slide_count,
        create_time=_to_time(message.create_time, present=message.HasField("create_time")),
        damaged_slides=tuple(message.damaged_slides),
    )


def to_added(message: slides_pb2.AddSlideResponse) -> AddedSlide:
    """The answer to an added slide."""
    return AddedSlide(to_slide(message.slide), message.already_present, message.index_version)


def to_export(message: slides_pb2.ExportSlidesResponse) -> ExportedSlide:
    """One slide of an export."""
    patches = message.patches.patches
    width = len(patches[0].code.texture) if patches else 0
    return ExportedSlide(
        slide=to_slide(message.slide),
        codes=Codes(
            keys=np.array([patch.code.key for patch in patches], dtype=np.int64),
            textures=np.frombuffer(
                b"".join(patch.code.texture for patch in patches), dtype=np.uint8
            ).reshape(len(patches), width),
            xy=np.array([(patch.x_px, patch.y_px) for patch in patches], dtype=np.int32).reshape(
                len(patches), 2
            ),
        ),
        model_fingerprint=message.model_fingerprint,
    )


def to_thumbnails(message: slides_pb2.GetThumbnailsResponse) -> Thumbnails:
    """Pictures kept with a slide."""
    return Thumbnails(
        slide=message.slide_thumbnail.data or None,
        patches={entry.patch_index: entry.thumbnail.data for entry in message.patch_thumbnails},
    )


def to_patch_hits(message: search_pb2.PatchHits) -> PatchHits:
    """The hits of one query patch."""
    return PatchHits(
        query_patch_index=message.query_patch_index,
        hits=tuple(_to_hit(hit) for hit in message.hits),
        hit_count=message.hit_count,
        mode=_mode_name(message.mode),
    )


def to_patch_search(message: search_pb2.SearchPatchesResponse) -> PatchSearchResult:
    """The answer to a search for patches."""
    return PatchSearchResult(
        patch_hits=tuple(to_patch_hits(hits) for hits in message.patch_hits),
        index_version=message.index_version,
        model_fingerprint=message.model_fingerprint,
        random_weights=message.random_weights,
    )


def to_result(
    message: search_pb2.RankedSlides,
    *,
    collection: str,
    options: SearchOptions,
    query: Query,
    patch_hits: Iterable[PatchHits],
) -> SearchResult:
    """The answer to a search.

    Args:
        message: The ranking.
        collection: Resource name of the collection.
        options: What was asked for.
        query: What was searched with.
        patch_hits: Hits in order of arrival; later ones of a patch replace earlier ones.
    """
    final = {hits.query_patch_index: hits for hits in patch_hits}
    timings = message.timings
    details = message.details
    return SearchResult(
        collection=collection,
        options=options,
        query=query,
        slides=tuple(_to_ranked(slide) for slide in message.slides),
        patch_hits=tuple(final[index] for index in sorted(final)),
        short_reasons=tuple(
            _enum_name(search_pb2.ShortReason.DESCRIPTOR, reason, "SHORT_REASON_")
            for reason in message.short_reasons
        ),
        short_messages=tuple(message.short_messages),
        modes={_mode_name(count.mode): count.patches for count in message.modes},
        query_patch_count=message.query_patch_count,
        index_version=message.index_version,
        model_fingerprint=message.model_fingerprint,
        random_weights=message.random_weights,
        timings=Timings(
            total_s=timings.total.ToTimedelta().total_seconds(),
            encode_s=timings.encode.ToTimedelta().total_seconds(),
            search_s=timings.search.ToTimedelta().total_seconds(),
            rank_s=timings.rank.ToTimedelta().total_seconds(),
        ),
        details=RankingDetails(
            entropies=dict(details.entropies),
            kept=tuple(details.kept),
            removed=tuple(details.removed),
            hamming_threshold=details.hamming_threshold,
            label_weights=dict(details.label_weights),
        )
        if message.HasField("details")
        else None,
    )


def to_status(message: admin_pb2.GetStatusResponse) -> Status:
    """What a service serves, and in which state."""
    limits = message.limits
    return Status(
        version=message.version,
        start_time=_to_time(message.start_time, present=message.HasField("start_time")),
        index_loaded=message.index_loaded,
        encoder_state=_ENCODER_STATES.get(message.encoder_state, "unknown"),
        encoder_message=message.encoder_message,
        model=_to_model(message.model),
        limits=Limits(
            max_message_bytes=limits.max_message_bytes,
            max_image_bytes=limits.max_image_bytes,
            max_image_pixels=limits.max_image_pixels,
            max_thumbnail_bytes=limits.max_thumbnail_bytes,
            max_patches_per_slide=limits.max_patches_per_slide,
            max_k=limits.max_k,
            max_hits_per_patch=limits.max_hits_per_patch,
        ),
        collection_count=message.collection_count,
        slide_count=message.slide_count,
        patch_count=message.patch_count,
        damaged_slide_count=message.damaged_slide_count,
        damaged_slides=tuple(message.damaged_slides),
        models=tuple(
            ServedModel(
                model=_to_model(served.model),
                name=served.name,
                active=served.active,
                encoder_state=_ENCODER_STATES.get(served.encoder_state, "unknown"),
                encoder_message=served.encoder_message,
            )
            for served in message.models
        ),
    )


def _to_model(message: admin_pb2.Model) -> Model:
    return Model(
        fingerprint=message.fingerprint,
        texture_bits=message.texture_bits,
        hamming_threshold_bits=message.hamming_threshold_bits,
        random_weights=message.random_weights,
        networks=tuple(
            Network(
                role=network.role,
                name=network.name,
                architecture=network.architecture,
                source=network.source,
                licence=network.licence,
                random_weights=network.random_weights,
                runtime=network.runtime,
                precision=network.precision,
            )
            for network in message.networks
        ),
    )


def to_snapshot(message: admin_pb2.Snapshot) -> Snapshot:
    """A copy of a service's store."""
    return Snapshot(
        name=message.name,
        create_time=_to_time(message.create_time, present=message.HasField("create_time")),
        sequence=message.sequence,
        size_bytes=message.size_bytes,
        sha256=message.sha256,
        collection_count=message.collection_count,
        slide_count=message.slide_count,
        patch_count=message.patch_count,
        damaged_slide_count=message.damaged_slide_count,
        problem=message.problem,
    )


def _to_ranked(message: search_pb2.RankedSlide) -> RankedSlide:
    return RankedSlide(
        rank=message.rank,
        slide=to_slide(message.slide),
        hamming_distance_bits=message.hamming_distance_bits,
        query_patch_index=message.query_patch_index,
        method=_enum_name(search_pb2.RankingMethod.DESCRIPTOR, message.method, "RANKING_METHOD_"),
        entropy=message.entropy if message.HasField("entropy") else None,
        score=message.score if message.HasField("score") else None,
        evidence=tuple(
            Evidence(
                query_patch_index=pair.query_patch_index,
                query_x_px=pair.query_x_px,
                query_y_px=pair.query_y_px,
                hit=_to_hit(pair.hit),
            )
            for pair in message.evidence
        ),
    )


def _to_hit(message: search_pb2.Hit) -> Hit:
    return Hit(
        slide=message.slide,
        patch_index=message.patch_index,
        x_px=message.x_px,
        y_px=message.y_px,
        key=message.key,
        hamming_distance_bits=message.hamming_distance_bits,
    )


def _to_time(message: Timestamp, *, present: bool) -> dt.datetime | None:
    return message.ToDatetime(tzinfo=dt.UTC) if present else None


def _mode_name(mode: int) -> str:
    return _enum_name(common_pb2.SearchMode.DESCRIPTOR, mode, "SEARCH_MODE_")


def _enum_name(descriptor: EnumDescriptor, number: int, prefix: str) -> str:
    """``SHORT_REASON_NO_HITS`` -> ``no-hits``. A newer service may know more than these stubs."""
    value = descriptor.values_by_number.get(number)
    if value is None:
        return f"unknown-{number}"
    return value.name.removeprefix(prefix).lower().replace("_", "-")


def _chosen(table: Mapping[_K, _V], key: _K, what: str) -> _V:
    try:
        return table[key]
    except KeyError:
        raise ValueError(f"{what} is one of {', '.join(table)}, not {key!r}") from None
