"""The archive's values as messages of the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from slidekin.v1 import collections_pb2, common_pb2, search_pb2, slides_pb2
from slidekin_server.archive.collection import View
from slidekin_server.archive.names import slide_name
from slidekin_server.archive.options import QueryOptions
from slidekin_server.archive.ranked import Listed
from slidekin_server.archive.search import PatchAnswer, SlideAnswer
from slidekin_server.archive.shortfall import ShortReason
from slidekin_server.ranking import RankingMethod
from slidekin_server.storage import Picture, PictureFormat, SlideRecord
from slidekin_server.values import PatchCodes, SearchMode

_MODES: Mapping[SearchMode, common_pb2.SearchMode.ValueType] = {
    SearchMode.GUIDED: common_pb2.SEARCH_MODE_GUIDED,
    SearchMode.EXACT: common_pb2.SEARCH_MODE_EXACT,
    SearchMode.HYBRID: common_pb2.SEARCH_MODE_HYBRID,
}
_RANKINGS: Mapping[RankingMethod, search_pb2.RankingMethod.ValueType] = {
    RankingMethod.AUTO: search_pb2.RANKING_METHOD_UNSPECIFIED,
    RankingMethod.UNCERTAINTY: search_pb2.RANKING_METHOD_UNCERTAINTY,
    RankingMethod.LABEL_FREE: search_pb2.RANKING_METHOD_LABEL_FREE,
}
_SHORT_REASONS: Mapping[ShortReason, search_pb2.ShortReason.ValueType] = {
    ShortReason.EMPTY_COLLECTION: search_pb2.SHORT_REASON_EMPTY_COLLECTION,
    ShortReason.SMALL_COLLECTION: search_pb2.SHORT_REASON_SMALL_COLLECTION,
    ShortReason.FILTER: search_pb2.SHORT_REASON_FILTER,
    ShortReason.NO_HITS: search_pb2.SHORT_REASON_NO_HITS,
    ShortReason.BAGS_CLEANED: search_pb2.SHORT_REASON_BAGS_CLEANED,
    ShortReason.PREDICTION_FILTER: search_pb2.SHORT_REASON_PREDICTION_FILTER,
    ShortReason.DISTANT_HITS: search_pb2.SHORT_REASON_DISTANT_HITS,
    ShortReason.NO_LABELS: search_pb2.SHORT_REASON_NO_LABELS,
}
_HITS_BATCH_BYTES = 256 * 1024
"""As much as flow control lets through at a time, so that a slow reader holds up little more."""
_PICTURE_FORMATS: Mapping[PictureFormat, common_pb2.ImageFormat.ValueType] = {
    PictureFormat.JPEG: common_pb2.IMAGE_FORMAT_JPEG,
    PictureFormat.PNG: common_pb2.IMAGE_FORMAT_PNG,
}


def timestamp(moment: datetime | None) -> Timestamp | None:
    """Return a moment (UTC) as a message."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def duration(seconds: float) -> Duration:
    """Return a span of time as a message."""
    message = Duration()
    message.FromMicroseconds(round(seconds * 1e6))
    return message


def collection(view: View, *, reindex_fingerprint: str) -> collections_pb2.Collection:
    """Return a collection as it stands."""
    record = view.collection
    return collections_pb2.Collection(
        name=view.name,
        display_name=record.display_name,
        description=record.description,
        model_fingerprint=record.fingerprint,
        texture_bits=record.texture_bits,
        hamming_threshold_bits=record.hamming_threshold_bits,
        slide_count=len(view.facts),
        patch_count=view.facts.patch_count,
        index_version=view.version,
        create_time=timestamp(record.create_time),
        reindex_model_fingerprint=reindex_fingerprint,
    )


def slide(record: SlideRecord) -> slides_pb2.Slide:
    """Return a slide as it is held."""
    facts = record.facts
    return slides_pb2.Slide(
        name=slide_name(record.collection, facts.slide_id),
        patient_id=facts.patient_id,
        label=facts.label,
        attributes=facts.attributes,
        width_px=facts.width_px,
        height_px=facts.height_px,
        mpp=facts.mpp,
        patch_size_px=facts.patch_size_px,
        source_digest=facts.source_digest,
        content_digest=record.content_digest,
        patch_count=record.patch_count,
        create_time=timestamp(record.create_time),
    )


def patch_batch(codes: PatchCodes) -> common_pb2.PatchBatch:
    """Return codes as patches."""
    batch = common_pb2.PatchBatch()
    for key, texture, (x_px, y_px) in zip(
        codes.keys.tolist(), codes.textures, codes.xy.tolist(), strict=True
    ):
        code = common_pb2.Code(key=key, texture=texture.tobytes())
        batch.patches.add(x_px=x_px, y_px=y_px, code=code)
    return batch


def image(picture: Picture) -> common_pb2.Image:
    """Return a picture as it is kept."""
    return common_pb2.Image(format=_PICTURE_FORMATS[picture.format], data=picture.data)


def patch_hits(view: View, answer: PatchAnswer, *, most: int) -> search_pb2.PatchHits:
    """Return the hits of a query patch, cut to ``most``."""
    bag = answer.bag
    message = search_pb2.PatchHits(
        query_patch_index=answer.patch.index, hit_count=len(bag), mode=_MODES[bag.mode]
    )
    for number, patch, key, distance in zip(
        bag.slides[:most].tolist(),
        bag.patches[:most].tolist(),
        bag.keys[:most].tolist(),
        bag.distances[:most].tolist(),
        strict=True,
    ):
        _fill_hit(message.hits.add(), view, number, patch, key, distance)
    return message


def batched_hits(hits: Sequence[search_pb2.PatchHits]) -> list[search_pb2.SearchSlideResponse]:
    """Return the hits of several patches in few messages: each is a trip to gRPC and back."""
    responses: list[search_pb2.SearchSlideResponse] = []
    room = 0
    for one in hits:
        size = one.ByteSize()
        if size > room or not responses:
            responses.append(search_pb2.SearchSlideResponse())
            room = _HITS_BATCH_BYTES
        responses[-1].patch_hits_batch.patch_hits.append(one)
        room -= size
    return responses


def ranked_slides(
    answer: SlideAnswer,
    options: QueryOptions,
    slides: Sequence[search_pb2.RankedSlide],
    *,
    random_weights: bool,
) -> search_pb2.RankedSlides:
    """Return the end of a search, with its slides as messages."""
    view = answer.view
    counts = dict.fromkeys((SearchMode.GUIDED, SearchMode.EXACT), 0)
    for patch in answer.patches:
        counts[patch.bag.mode] += 1
    message = search_pb2.RankedSlides(
        slides=slides,
        short_reasons=[_SHORT_REASONS[short.reason] for short in answer.ranked.shortfalls],
        short_messages=[short.message for short in answer.ranked.shortfalls],
        modes=[
            search_pb2.ModeCount(mode=_MODES[mode], patches=count)
            for mode, count in counts.items()
            if count
        ],
        query_patch_count=len(answer.patches),
        index_version=view.version,
        model_fingerprint=view.collection.fingerprint,
        random_weights=random_weights,
        timings=search_pb2.SearchTimings(
            total=duration(answer.timings.total_s),
            encode=duration(answer.timings.encode_s),
            search=duration(answer.timings.search_s),
            rank=duration(answer.timings.rank_s),
        ),
    )
    if options.include_ranking_details:
        ranking = answer.ranked.ranking
        message.details.CopyFrom(
            search_pb2.RankingDetails(
                entropies=ranking.entropies,
                kept=ranking.kept,
                removed=ranking.removed,
                hamming_threshold=ranking.hamming_threshold_bits or 0.0,
                label_weights=view.facts.labels(options.label_weight_sum).weights,
            )
        )
    return message


def ranked_slide(answer: SlideAnswer, rank: int, listed: Listed) -> search_pb2.RankedSlide:
    """Return a slide of an answer, with its evidence."""
    view, ranked = answer.view, listed.slide
    message = search_pb2.RankedSlide(
        slide=slide(view.facts.record(ranked.slide)),
        rank=rank,
        hamming_distance_bits=ranked.distance_bits,
        entropy=ranked.entropy,
        query_patch_index=ranked.query_patch,
        score=ranked.score,
        method=_RANKINGS[listed.method],
    )
    for pair in ranked.evidence:
        query = answer.patches[pair.query_patch].patch
        evidence = message.evidence.add(
            query_patch_index=pair.query_patch, query_x_px=query.x_px, query_y_px=query.y_px
        )
        _fill_hit(evidence.hit, view, ranked.slide, pair.patch, pair.key, pair.distance_bits)
    return message


def _fill_hit(  # noqa: PLR0917  called for every hit: keywords would cost
    message: search_pb2.Hit, view: View, number: int, patch: int, key: int, distance_bits: int
) -> None:
    message.slide = view.slide_name(number)
    message.patch_index = patch
    message.x_px, message.y_px = view.facts.xy_px(number)[patch].tolist()
    message.key = key
    message.hamming_distance_bits = distance_bits
