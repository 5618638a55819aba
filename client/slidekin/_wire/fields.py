"""Fields that many messages have: enumerations and times."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TypeVar

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

_K = TypeVar("_K", bound=str)
_V = TypeVar("_V")


def to_time(message: Timestamp, *, present: bool) -> dt.datetime | None:
    """A time in UTC, or None where the message has none."""
    return message.ToDatetime(tzinfo=dt.UTC) if present else None


def enum_name(descriptor: EnumDescriptor, number: int, prefix: str) -> str:
    """``SHORT_REASON_NO_HITS`` -> ``no-hits``. A newer service may know more than these stubs."""
    value = descriptor.values_by_number.get(number)
    if value is None:
        return f"unknown-{number}"
    return value.name.removeprefix(prefix).lower().replace("_", "-")


def chosen(table: Mapping[_K, _V], key: _K, what: str) -> _V:
    """What the contract calls ``key``.

    Raises:
        ValueError: It has no such thing; ``what`` names the argument.
    """
    try:
        return table[key]
    except KeyError:
        raise ValueError(f"{what} is one of {', '.join(table)}, not {key!r}") from None
