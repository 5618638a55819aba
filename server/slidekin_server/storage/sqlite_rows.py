"""Records to rows of the SQLite store and back, with checks of what was read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from slidekin_server.storage.errors import DamagedSlideError
from slidekin_server.storage.packing import PackedCodes, codes_checksum, facts_checksum, unpack
from slidekin_server.storage.records import CollectionRecord, SlideFacts, SlideRecord, StoredSlide

COLLECTION_COLUMNS = (
    "name, fingerprint, texture_bits, hamming_threshold_bits, display_name, description, created_us"
)
# The columns that the checksum covers, in its order.
FACT_COLUMNS = (
    "slide_id, patient_id, label, attributes, width_px, height_px, mpp, patch_size_px, "
    "source_digest, content_digest, patch_count, created_us"
)
SLIDE_COLUMNS = f"s.number, {FACT_COLUMNS}, s.checksum"
CODES_COLUMNS = "c.keys, c.textures, c.xy, c.checksum"

Row = tuple[Any, ...]
"""What SQLite returns or accepts; the columns give the types."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_us() -> int:
    """The time, in microseconds since 1970 (UTC)."""
    return (datetime.now(UTC) - _EPOCH) // timedelta(microseconds=1)


def created_us(record: SlideRecord) -> int:
    """When a slide was added, in microseconds since 1970 (UTC)."""
    return (record.create_time - _EPOCH) // timedelta(microseconds=1)


def _time(created_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=created_us)


def collection_row(record: CollectionRecord, created_us: int) -> Row:
    """Values of `COLLECTION_COLUMNS`."""
    return (
        record.name,
        record.fingerprint,
        record.texture_bits,
        record.hamming_threshold_bits,
        record.display_name,
        record.description,
        created_us,
    )


def collection_record(row: Row) -> CollectionRecord:
    """From a row of `COLLECTION_COLUMNS`."""
    name, fingerprint, texture_bits, threshold_bits, display_name, description, created_us = row
    return CollectionRecord(
        name=name,
        fingerprint=fingerprint,
        texture_bits=texture_bits,
        hamming_threshold_bits=threshold_bits,
        display_name=display_name,
        description=description,
        create_time=_time(created_us),
    )


def facts_row(facts: SlideFacts, content_digest: str, patch_count: int, created_us: int) -> Row:
    """Values of `FACT_COLUMNS`, followed by their checksum."""
    row = (
        facts.slide_id,
        facts.patient_id,
        facts.label,
        json.dumps(dict(sorted(facts.attributes.items())), ensure_ascii=False),
        facts.width_px,
        facts.height_px,
        float(facts.mpp),
        facts.patch_size_px,
        facts.source_digest,
        content_digest,
        patch_count,
        created_us,
    )
    return (*row, facts_checksum(row))


def slide_record(collection: str, row: Row, *, checked: bool = True) -> SlideRecord:
    """From a row of `SLIDE_COLUMNS`.

    Raises:
        DamagedSlideError: The checksum is wrong, and ``checked``.
    """
    number, *stated, checksum = row
    slide_id, patient_id, label, attributes, width, height, mpp, patch_size, source = stated[:9]
    digest, patch_count, created_us = stated[9:]
    if facts_checksum(tuple(stated)) != checksum:
        if checked:
            raise DamagedSlideError(collection, slide_id, number)
        attributes = "{}"  # may not even be JSON any more
    facts = SlideFacts(
        slide_id=slide_id,
        patient_id=patient_id,
        label=label,
        attributes=json.loads(attributes),
        width_px=width,
        height_px=height,
        mpp=mpp,
        patch_size_px=patch_size,
        source_digest=source,
    )
    return SlideRecord(number, collection, facts, digest, patch_count, _time(created_us))


def stored_slide(collection: str, row: Row, *, texture_bits: int) -> StoredSlide:
    """From a row of `SLIDE_COLUMNS` and `CODES_COLUMNS`.

    Raises:
        DamagedSlideError: A checksum is wrong, or the arrays are missing.
    """
    *slide, keys, textures, xy, checksum = row
    record = slide_record(collection, tuple(slide))
    packed = PackedCodes(keys, textures, xy)
    if None in packed or codes_checksum(record.number, packed) != checksum:
        raise DamagedSlideError(collection, record.facts.slide_id, record.number)
    codes = unpack(packed, patch_count=record.patch_count, texture_bits=texture_bits)
    return StoredSlide(record, codes)
