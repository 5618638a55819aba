"""What a unary call is, and what all of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from google.protobuf.message import Message

PAGE_SIZE = 1000
"""Most that the contract allows: pages cost a round trip each."""
_T = TypeVar("_T")
Service = Literal["CollectionService", "SlideService", "SearchService", "AdminService"]


@dataclass(frozen=True, slots=True)
class Call(Generic[_T]):
    """One unary call."""

    service: Service
    """Its service in ``slidekin.v1``."""
    method: str
    """Its method there."""
    request: Message
    """What is asked."""
    decode: Callable[[Any], _T]
    """Makes the value from the response."""
    repeatable: bool = True
    """Asking twice comes to the same: it may be made again where the answer got lost."""
    is_search: bool = False
    """It takes as long as a search."""


@dataclass(frozen=True, slots=True)
class Page(Generic[_T]):
    """One page of a listing."""

    items: tuple[_T, ...]
    """What is on it."""
    next_token: str
    """Token of the next; empty on the last."""


def given_fields(**fields: str | Mapping[str, str] | None) -> dict[str, Any]:
    """The fields that are to change.

    Raises:
        ValueError: None is.
    """
    changed = {name: value for name, value in fields.items() if value is not None}
    if not changed:
        raise ValueError(f"nothing to change: give {' or '.join(fields)}")
    return changed
