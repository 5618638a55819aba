"""Resource names.

``collections/{collection}``, ``collections/{collection}/slides/{slide}``, ``snapshots/{snapshot}``.
"""

from __future__ import annotations

import re

ANY_COLLECTION = "-"
"""Stands for every collection where a request allows it (AIP-159)."""

MAX_SLIDE_ID_BYTES = 256

_COLLECTION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_SNAPSHOT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
# Control characters would forge log lines; surrogates have no UTF-8.
_FORBIDDEN_IN_SLIDE_ID = re.compile("[/\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def collection_name(collection_id: str) -> str:
    """Return ``collections/{collection_id}``."""
    return f"collections/{collection_id}"


def slide_name(collection_id: str, slide_id: str) -> str:
    """Return ``collections/{collection_id}/slides/{slide_id}``."""
    return f"collections/{collection_id}/slides/{slide_id}"


def snapshot_name(snapshot_id: str) -> str:
    """Return ``snapshots/{snapshot_id}``."""
    return f"snapshots/{snapshot_id}"


def parse_snapshot_name(name: str) -> str:
    """Return the snapshot's id.

    Raises:
        ValueError: The name is not of the form ``snapshots/{snapshot}``.
    """
    prefix, _, snapshot_id = name.partition("/")
    if prefix != "snapshots" or not _SNAPSHOT_ID.match(snapshot_id):
        raise ValueError(f"{name!r} is not of the form snapshots/{{snapshot}}")
    return snapshot_id


def parse_collection_name(name: str, *, allow_any: bool = False) -> str:
    """Return the collection's id.

    Args:
        name: ``collections/{collection}``.
        allow_any: Accept ``collections/-`` too, and return ``ANY_COLLECTION`` for it.

    Raises:
        ValueError: The name does not have this form; the message shows the form.
    """
    prefix, _, collection_id = name.partition("/")
    if prefix != "collections":
        raise ValueError(f"{name!r} is not of the form collections/{{collection}}")
    if allow_any and collection_id == ANY_COLLECTION:
        return ANY_COLLECTION
    _check_collection_id(collection_id)
    return collection_id


def parse_slide_name(name: str) -> tuple[str, str]:
    """Return the ids of collection and slide.

    Raises:
        ValueError: The name is not of the form ``collections/{collection}/slides/{slide}``; the
            message says why.
    """
    parts = name.split("/", maxsplit=3)
    if len(parts) != 4 or parts[0] != "collections" or parts[2] != "slides":
        raise ValueError(f"{name!r} is not of the form collections/{{collection}}/slides/{{slide}}")
    _, collection_id, _, slide_id = parts
    _check_collection_id(collection_id)
    if not slide_id:
        raise ValueError("the slide's id is empty; give it 1 to 256 bytes")
    if _FORBIDDEN_IN_SLIDE_ID.search(slide_id):
        raise ValueError(f"the slide's id {slide_id!r} holds '/' or a control character")
    if len(slide_id.encode()) > MAX_SLIDE_ID_BYTES:
        raise ValueError(f"the slide's id is longer than {MAX_SLIDE_ID_BYTES} bytes of UTF-8")
    return collection_id, slide_id


def _check_collection_id(collection_id: str) -> None:
    if not _COLLECTION_ID.match(collection_id):
        raise ValueError(
            f"the collection's id {collection_id!r} is not 1 to 128 letters, digits, '.', '_' or "
            "'-' beginning with a letter or digit"
        )
