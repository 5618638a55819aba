"""Checks shared by all servicers. A request is read to its end, so one answer names every fault."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from google.protobuf.field_mask_pb2 import FieldMask

from slidekin_server.archive.names import parse_collection_name, parse_slide_name
from slidekin_server.telemetry import note

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
MAX_TEXT_BYTES = 256
MAX_DESCRIPTION_BYTES = 4096
MAX_ATTRIBUTES = 64
MAX_ATTRIBUTE_VALUE_BYTES = 1024
MAX_FILTER_VALUES = 10_000

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_LINES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_TOKEN = struct.Struct(">BQ8s")
_TOKEN_VERSION = 1
_MAX_NUMBER = 2**63 - 1
"""Of an entry: the store's numbers are signed."""
_MAX_FAULTS = 100
"""Named in one answer; a message has room for millions."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One fault of a request."""

    field: str
    description: str


class InvalidRequestError(Exception):
    """A request that is wrong whatever the service holds."""

    def __init__(self, *violations: Violation, reason: str = "INVALID_FIELD") -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = violations
        self.reason = reason


def refuse(field: str, description: str, *, reason: str = "INVALID_FIELD") -> InvalidRequestError:
    """Return the error for a request with this one fault."""
    return InvalidRequestError(Violation(field, description), reason=reason)


class Checker:
    """Collects the faults of one request."""

    def __init__(self) -> None:
        self._violations: list[Violation] = []

    def fault(self, field: str, description: str) -> None:
        """Note a fault.

        Raises:
            InvalidRequestError: So many were found that no answer names more.
        """
        self._violations.append(Violation(field, description))
        if len(self._violations) >= _MAX_FAULTS:
            self.finish()

    def in_range(self, field: str, value: float, least: float, most: float) -> None:
        """Note a fault unless ``least <= value <= most`` (NaN is a fault)."""
        if not least <= value <= most:
            self.fault(field, f"{value} is not between {least} and {most}")

    def text(
        self,
        field: str,
        value: str,
        *,
        max_bytes: int = MAX_TEXT_BYTES,
        required: bool = False,
        lines: bool = False,
    ) -> None:
        """Note a fault where the text is too long or holds control characters."""
        if required and not value:
            self.fault(field, "must not be empty")
        if len(value.encode()) > max_bytes:
            self.fault(field, f"is longer than {max_bytes} bytes of UTF-8")
        if (_CONTROL_BUT_LINES if lines else _CONTROL).search(value):
            self.fault(field, "holds control characters")

    def digest(self, field: str, value: str) -> None:
        """Note a fault unless the value is empty or a SHA-256 in lower-case hex."""
        if value and not _DIGEST.match(value):
            self.fault(field, "is not a SHA-256 in 64 lower-case hex digits")

    def attributes(self, field: str, attributes: dict[str, str]) -> None:
        """Note faults of a slide's attributes."""
        if len(attributes) > MAX_ATTRIBUTES:
            self.fault(field, f"holds {len(attributes)} entries; at most {MAX_ATTRIBUTES} are kept")
        for name, value in attributes.items():
            self.text(f"{field}[{name[:MAX_TEXT_BYTES]!r}]", name, required=True)
            self.text(
                f"{field}[{name[:MAX_TEXT_BYTES]!r}]", value, max_bytes=MAX_ATTRIBUTE_VALUE_BYTES
            )

    def mask(self, mask: FieldMask, allowed: frozenset[str]) -> frozenset[str]:
        """Return the fields of an update; empty means all that may be changed."""
        unknown = sorted(set(mask.paths) - allowed)
        if unknown:
            names = ", ".join(sorted(allowed))
            self.fault("update_mask", f"{', '.join(unknown)} cannot be changed; {names} can")
        return frozenset(mask.paths) & allowed or allowed

    def finish(self) -> None:
        """Raise what was found.

        Raises:
            InvalidRequestError: There was at least one fault.
        """
        if self._violations:
            raise InvalidRequestError(*self._violations)


@contextmanager
def checking() -> Iterator[Checker]:
    """Give a checker whose faults are raised at the end of the block."""
    checker = Checker()
    yield checker
    checker.finish()


def collection_id(field: str, name: str, *, allow_any: bool = False) -> str:
    """Return the id in a collection's resource name, and note it of the call.

    Raises:
        InvalidRequestError: It is no such name.
    """
    try:
        collection = parse_collection_name(name, allow_any=allow_any)
    except ValueError as error:
        raise refuse(field, str(error), reason="INVALID_NAME") from None
    note(collection=collection)
    return collection


def slide_ids(field: str, name: str) -> tuple[str, str]:
    """Return the ids in a slide's resource name, and note its collection of the call.

    Raises:
        InvalidRequestError: It is no such name.
    """
    try:
        collection, slide = parse_slide_name(name)
    except ValueError as error:
        raise refuse(field, str(error), reason="INVALID_NAME") from None
    note(collection=collection)
    return collection, slide


@dataclass(frozen=True, slots=True)
class Page:
    """Where a page of a listing starts and how long it may be."""

    size: int
    after: int
    """Number of the last entry of the page before; 0 for the first page."""
    _scope: bytes

    @classmethod
    def of(cls, *, size: int, token: str, scope: bytes) -> Page:
        """Read a listing's paging fields.

        Args:
            size: Page size as asked; 0 for the default.
            token: The token as received.
            scope: What the listing is of; a token of another listing is refused.

        Raises:
            InvalidRequestError: A negative size, or a token this listing did not give out.
        """
        if size < 0:
            raise refuse("page_size", f"{size} is negative; 0 stands for {DEFAULT_PAGE_SIZE}")
        mark = hashlib.blake2b(scope, digest_size=8).digest()
        after = 0
        if token:
            try:
                raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
                version, after, found = _TOKEN.unpack(raw)
            except (UnicodeEncodeError, binascii.Error, struct.error):
                version, found = 0, b""
            if version != _TOKEN_VERSION or found != mark or after > _MAX_NUMBER:
                raise refuse(
                    "page_token",
                    "is not a token of this listing; pass next_page_token as it was received, with "
                    "the same parent and filter",
                    reason="INVALID_PAGE_TOKEN",
                )
        return cls(min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE), after, mark)

    def token(self, last: int) -> str:
        """Return the token of the page that follows the entry numbered ``last``."""
        return base64.urlsafe_b64encode(_TOKEN.pack(_TOKEN_VERSION, last, self._scope)).decode()
