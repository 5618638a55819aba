"""Short texts that come with calls: names, page tokens, and what an error says of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from tests.fuzz.readers import Reader

from slidekin_server.api.errors import status_of
from slidekin_server.api.validation import InvalidRequestError, Page, refuse
from slidekin_server.archive.names import (
    collection_name,
    parse_collection_name,
    parse_slide_name,
    parse_snapshot_name,
    slide_name,
    snapshot_name,
)

_SCOPE = b"collections"
_MAX_TRAILER_BYTES = 8 * 1024
_MAX_AFTER = 2**63 - 1
"""Numbers of the store are signed."""


def token(data: bytes) -> None:
    """A page token: one of ours comes back as it went out."""
    text = data.decode("utf-8", "replace")
    try:
        page = Page.of(size=10, token=text, scope=_SCOPE)
    except InvalidRequestError:
        return
    assert 0 <= page.after <= _MAX_AFTER
    if text:
        assert Page.of(size=0, token=page.token(page.after), scope=_SCOPE).after == page.after


def name(data: bytes) -> None:
    """A resource name: what is taken apart can be put together again."""
    text = data.decode("utf-8", "replace")
    makers: list[tuple[Callable[[str], object], Callable[..., str]]] = [
        (parse_collection_name, collection_name),
        (parse_snapshot_name, snapshot_name),
        (parse_slide_name, slide_name),
    ]
    for parse, make in makers:
        with contextlib.suppress(ValueError):
            found = parse(text)
            assert (make(*found) if isinstance(found, tuple) else make(found)) == text
            assert ".." not in text.split("/")


def status(data: bytes) -> None:
    """An error that repeats what it was sent still fits the trailer that carries it."""
    text = data.decode("utf-8", "replace")
    packed = status_of(refuse(text[: len(text) // 2], text))
    assert len(packed.SerializeToString()) * 4 / 3 + len(packed.message) < _MAX_TRAILER_BYTES
    assert "\ufffd" in text or packed.message.encode()


READERS = {
    "page-token": Reader(
        token,
        lambda: [
            b"",
            *(
                Page.of(size=0, token="", scope=_SCOPE).token(last).encode()
                for last in (0, 1, 2**63 - 1, 2**63, 2**64 - 1)
            ),
        ],
        ("slidekin_server.api.validation", "base64"),
        most_bytes=64,
    ),
    "names": Reader(
        name,
        lambda: [
            b"collections/a",
            b"collections/a.b-c_d/slides/x y",
            b"snapshots/20260101T000000000000Z-1",
            b"collections/-",
            "collections/a/slides/ü\u202e".encode(),
        ],
        ("slidekin_server.archive.names",),
        most_bytes=400,
    ),
    "statuses": Reader(
        status,
        lambda: [b"x" * 100, "ü%".encode() * 300, b"\n" * 2000],
        ("slidekin_server.api.errors",),
    ),
}
